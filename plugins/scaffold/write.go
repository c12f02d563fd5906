package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes a project in a folder that is not there yet, or is empty. Nothing
// is overwritten; what was begun and could not be finished is taken away again.
func Write(p Project, dir string) (err error) {
	files, err := Files(p)
	if err != nil {
		return err
	}
	made := false
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s is there and not empty: choose another name, or another folder with --dir", dir)
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("make the project's folder: %w", err)
		}
		made = true
	case err != nil:
		return fmt.Errorf("look at the project's folder: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		for _, f := range files {
			os.Remove(filepath.Join(dir, filepath.FromSlash(f.Path)))
		}
		if made {
			os.RemoveAll(dir)
		}
	}()
	for _, f := range files {
		to := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return fmt.Errorf("write project: %w", err)
		}
		mode := fs.FileMode(0o640)
		if f.Executable {
			mode = 0o750
		}
		file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return fmt.Errorf("write project: %w", err)
		}
		_, err = file.Write(f.Text)
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fmt.Errorf("write project: %w", err)
		}
	}
	return nil
}
