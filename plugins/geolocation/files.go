package geolocation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extensions are of the files that are read.
var extensions = []string{".mmdb", ".csv"}

// fileSet is what lies below a folder, in the order of names.
type fileSet struct {
	names []string
	bytes int64
	stamp string // changes when one of them does
}

// find lists the files below a folder. Links are followed, the folder's own and
// those of files, which is how packages and volumes put them in place. A folder
// that is not there is an empty one.
func find(folder string) (fileSet, error) {
	var set fileSet
	root, err := filepath.EvalSymlinks(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return set, nil
	}
	if err != nil {
		return set, err
	}
	var errs []error
	var stamp strings.Builder
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		if entry.IsDir() || !slices.Contains(extensions, strings.ToLower(filepath.Ext(name))) {
			return nil
		}
		info, err := os.Stat(name)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		set.names = append(set.names, name)
		set.bytes += info.Size()
		fmt.Fprintf(&stamp, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	set.stamp = stamp.String()
	return set, errors.Join(append(errs, err)...)
}
