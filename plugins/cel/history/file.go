package history

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mapping is a file that is mapped into memory for reading.
type mapping struct {
	path string
	data []byte
}

func mapFile(path string) (mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return mapping{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return mapping{}, err
	}
	m := mapping{path: path}
	if info.Size() == 0 {
		return m, nil
	}
	if m.data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return m, &os.PathError{Op: "map", Path: path, Err: err}
	}
	return m, nil
}

// jump tells the system that reading ahead would bring in what nobody wants.
func (m *mapping) jump() {
	if m.data != nil {
		_ = unix.Madvise(m.data, unix.MADV_RANDOM)
	}
}

func (m *mapping) close() {
	if m.data != nil {
		_ = unix.Munmap(m.data)
		m.data = nil
	}
}

// lock keeps a folder to one process; the kernel lets go of it when the process
// ends, however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process uses %s (%w): stop it, or give this plugin another name", dir, err)
	}
	return f, nil
}
