package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LayDown makes the folders pipeline and rules below dir hold exactly the
// bundle: its files are put there, and those that a node would read and that are
// not in it are removed. Other files stay. All is written beside first; then the
// lock of the pipeline folder is held for as long as renaming takes. A file that
// is as it should be is not touched.
func (b Bundle) LayDown(ctx context.Context, dir string) error {
	if err := b.layDown(ctx, dir); err != nil {
		return fmt.Errorf("lay down configuration: %w", err)
	}
	return nil
}

func (b Bundle) layDown(ctx context.Context, dir string) (err error) {
	for _, folder := range bundleFolders {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o750); err != nil {
			return err
		}
	}
	there, report := ReadBundle(dir)
	obsolete, same := map[string]bool{}, map[string]bool{}
	for _, f := range there {
		obsolete[f.Name] = true
		same[f.Name] = false
	}
	// A file that cannot be read is one all the same.
	for _, p := range report.Errors() {
		if name, err := filepath.Rel(dir, p.Position.File); err == nil && bundleName(filepath.ToSlash(name)) {
			obsolete[filepath.ToSlash(name)] = true
		}
	}
	for i, j := 0, 0; i < len(b) && j < len(there); {
		switch x, y := b[i], there[j]; {
		case x.Name < y.Name:
			i++
		case x.Name > y.Name:
			j++
		default:
			same[x.Name] = bytes.Equal(x.Data, y.Data)
			i, j = i+1, j+1
		}
	}
	beside := map[string]string{} // the file that is to be, by the one written
	defer func() {
		for tmp := range beside {
			os.Remove(tmp) // gone if renamed
		}
	}()
	folders := map[string]bool{}
	for _, f := range b {
		delete(obsolete, f.Name)
		if same[f.Name] {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		tmp, err := writeBeside(path, f.Data)
		if err != nil {
			return err
		}
		beside[tmp], folders[filepath.Dir(path)] = path, true
	}
	if len(beside) == 0 && len(obsolete) == 0 {
		return nil
	}
	release, err := Lock(ctx, filepath.Join(dir, "pipeline"))
	if err != nil {
		return err
	}
	err = b.swap(dir, beside, obsolete, folders)
	if err = errors.Join(err, release()); err != nil {
		return err
	}
	for folder := range folders {
		if err := syncDir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// swap renames what was written beside and removes what is not wanted.
func (b Bundle) swap(dir string, beside map[string]string, obsolete, folders map[string]bool) error {
	for tmp, path := range beside {
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	for name := range obsolete {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		folders[filepath.Dir(path)] = true
		// Folders that are empty now go, up to the two that stay.
		for up := filepath.Dir(path); filepath.Dir(up) != filepath.Clean(dir) && os.Remove(up) == nil; up = filepath.Dir(up) {
			delete(folders, up)
		}
	}
	return nil
}

// writeBeside writes a file that is to become path, under a name that nobody
// reads, and syncs it.
func writeBeside(path string, data []byte) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o640), tmp.Sync(), tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return "", err
	}
	return tmp.Name(), nil
}
