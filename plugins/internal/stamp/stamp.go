// Package stamp tells cheaply whether files below a folder have changed.
package stamp

import (
	"encoding/binary"
	"hash/maphash"
	"io/fs"
	"path/filepath"
	"slices"
)

var seed = maphash.MakeSeed()

// Of sums up path, size and modification time of the files below root that have
// one of these extensions. Two equal stamps of one process mean that, as far as
// this can tell, nothing changed. A folder that is not there has the stamp of an
// empty one.
func Of(root string, extensions ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	// Unreadable entries are left out here: whoever loads the files reports them.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains(extensions, filepath.Ext(path)) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		h.WriteString(path)
		var b [17]byte
		binary.LittleEndian.PutUint64(b[1:], uint64(info.Size()))
		binary.LittleEndian.PutUint64(b[9:], uint64(info.ModTime().UnixNano()))
		h.Write(b[:])
		return nil
	})
	return h.Sum64()
}
