// Package workdir keeps a work dir to one process at a time.
package workdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// InUse is the error of Lock where another process has the work dir.
type InUse struct {
	Dir     string
	Process string // its id; "" where it has not written that yet
}

func (e *InUse) Error() string {
	return fmt.Sprintf("another node (process %s) runs in %s: stop it, or give this one another --work-dir", e.Process, e.Dir)
}

// Lock keeps others out of a work dir until release is called: two embedded
// servers over the same files would ruin them, and two sets of plugins would
// take each other's sockets. The kernel lets go of the lock when the process
// ends, however it ends. The folders are made if need be.
func Lock(dir string) (release func(), err error) {
	file := filepath.Join(dir, "run", "node.lock")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return nil, fmt.Errorf("work dir lock: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("work dir lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("work dir lock: %w", err)
		}
		// Who it is only serves to be told.
		pid, _ := os.ReadFile(file)
		return nil, &InUse{Dir: dir, Process: strings.TrimSpace(string(pid))}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("work dir lock: %w", err)
	}
	return func() { f.Close() }, nil
}
