package plugins

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WorkDir is where sockets, configuration and state lie: the environment's
// WORK_DIR, or /workdir.
var WorkDir = cmp.Or(os.Getenv("WORK_DIR"), "/workdir")

// maxSocketPath is what the kernel takes as the path of a Unix socket.
const maxSocketPath = 107

// socketPath is the path of a socket below dir, checked against what the kernel
// takes; without the check the error is a bare "invalid argument".
func socketPath(dir, file string) (string, error) {
	path := filepath.Join(dir, "sockets", file)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("socket path %s has %d bytes, the system takes %d: use a shorter WORK_DIR", path, len(path), maxSocketPath)
	}
	return path, nil
}

// engineSocket is where the node takes logs and messages.
func engineSocket(dir string) (string, error) {
	return socketPath(cmp.Or(dir, WorkDir), "engine_server.sock")
}

// checkName refuses names that would leave the sockets folder or hide in it.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a plugin needs a name")
	case strings.ContainsAny(name, "/\\\x00"), strings.HasPrefix(name, "."):
		return fmt.Errorf("plugin name %q: it becomes a file name, so it may not hold a slash or begin with a dot", name)
	}
	return nil
}
