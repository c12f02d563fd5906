#!/bin/bash
# Builds the image with this machine's Go and without pulling anything:
#
#   deploy/build.sh [TAG]        epmesh:dev if none is given
#
# What is in the image is the same as from deploy/Dockerfile: the static binary,
# the certificates of public authorities, and the work dir.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-epmesh:dev}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/image/usr/bin" "$context/image/etc/ssl/certs" "$context/workdir"

CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-s -w" -o "$context/image/usr/bin/epmesh" ./cmd/epmesh
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -r "$certificates" ]; then
	cp "$certificates" "$context/image/etc/ssl/certs/"
else
	echo "build.sh: no $certificates: the image will trust no https server (the notify plugin's url)" >&2
fi
# mktemp's folders are private; the image's are not.
chmod -R a+rX "$context"

docker build --quiet -f deploy/Dockerfile.scratch -t "$tag" "$context" >/dev/null 2>&1 ||
	docker build -f deploy/Dockerfile.scratch -t "$tag" "$context"
echo "built $tag"
