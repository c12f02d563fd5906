// Package durable writes files that a power loss leaves whole.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile puts a file in the place of one of that name, mode 0600, with what
// write gives it: it is there whole and on the disk once WriteFile returns nil,
// else what was there before stays. Not for concurrent use on one path.
func WriteFile(path string, write func(*os.File) error) (err error) {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	return err
}

// SyncDir makes what was made, renamed or removed in a folder last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
