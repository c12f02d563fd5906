#!/bin/bash
# Builds the image with this machine's Go and without pulling anything:
#
#   deploy/build.sh [TAG]        epmesh:dev if none is given
#
# What is in the image is the same as from deploy/Dockerfile: the static binaries
# epmesh and nats-server, the certificates of public authorities, and the work dir.
# What it is made of stays in deploy/context, so that compose can build it too:
#
#   EPMESH_CONTEXT=deploy/context EPMESH_DOCKERFILE=Dockerfile docker compose up --build
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-epmesh:dev}

context=deploy/context
rm -rf "$context"
mkdir -p "$context/image/usr/bin" "$context/image/etc/ssl/certs" "$context/empty" "$context/workdir/pipeline" "$context/workdir/rules"
cp deploy/Dockerfile.scratch "$context/Dockerfile"

CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-s -w" -o "$context/image/usr/bin/" ./cmd/epmesh github.com/nats-io/nats-server/v2
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -r "$certificates" ]; then
	cp "$certificates" "$context/image/etc/ssl/certs/"
else
	echo "build.sh: no $certificates: the image will trust no https server (the notify plugin's url)" >&2
fi
# What the umask took from others here they need in the image.
chmod -R a+rX "$context"

docker build --quiet -t "$tag" "$context" >/dev/null 2>&1 || docker build -t "$tag" "$context"
echo "built $tag"
