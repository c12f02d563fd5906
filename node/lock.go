package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDir keeps a second node out of a work dir: two embedded servers over the
// same files would ruin them. The kernel lets go of the lock when the process
// ends, however it ends.
func lockDir(file string) (release func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("work dir lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("work dir lock: %w", err)
		}
		pid, _ := os.ReadFile(file)
		return nil, fmt.Errorf("another node (process %s) runs in %s: stop it, or give this one another --work-dir",
			strings.TrimSpace(string(pid)), filepath.Dir(filepath.Dir(file)))
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
