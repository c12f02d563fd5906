package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// headSize is how much of a file's beginning tells it from another.
	headSize = 1024
	// anchorSize is how many of the bytes before a position tell that the file
	// is still the one that was read up to there.
	anchorSize = 64
	// evidence is how many bytes must be alike before a file of another name and
	// place is taken for a copy of a known log and read on where that was left.
	// Below, two logs may begin alike by chance: a repetition is then better than
	// a loss, so it is read from its beginning.
	evidence = 256
	// hint is how many bytes must be alike for such a file to get the ids that the
	// log's records had, from the beginning: where it holds something else, the
	// ids are others, since they come from the record's text too.
	hint = 16
)

// fileKey is a file's place on the disk.
type fileKey struct{ device, inode uint64 }

func keyOf(info os.FileInfo) fileKey {
	st := info.Sys().(*syscall.Stat_t)
	return fileKey{uint64(st.Dev), st.Ino}
}

// deleted reports that an open file has no name any more.
func deleted(info os.FileInfo) bool { return info.Sys().(*syscall.Stat_t).Nlink == 0 }

// hash is what positions keep of bytes; none for none.
func hash(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// bytesAt reads n bytes at a place, or fewer where the file ends before.
func bytesAt(r io.ReaderAt, at, n int64) []byte {
	b := make([]byte, n)
	got, _ := r.ReadAt(b, at)
	return b[:got]
}

// headIn is what of a file's beginning tells it: not the NULs of a file that is
// filled later.
func headIn(b []byte) []byte {
	b = b[:min(len(b), headSize)]
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return b[:n]
	}
	return b
}

// anchorAt is what stands before a position.
func anchorAt(r io.ReaderAt, at int64) []byte {
	n := min(at, anchorSize)
	return bytesAt(r, at-n, n)
}

// compressions are the names' endings of what is read through a decompressor.
var compressions = []string{".gz", ".zst", ".bz2"}

func compression(path string) string {
	for _, ext := range compressions {
		if strings.HasSuffix(path, ext) {
			return ext
		}
	}
	return ""
}

// family is what the names of a log and of its rotated copies have in common:
// app.log, app.log.1, app.log-20261126.gz and app-20261126.log are all app.log.
func family(path string) string {
	name := filepath.Base(path)
	name = strings.TrimSuffix(name, compression(name))
	var b strings.Builder
	for i := 0; i < len(name); {
		end := i
		if strings.IndexByte(".-_", name[i]) >= 0 {
			for end = i + 1; end < len(name) && (name[end] >= '0' && name[end] <= '9' || strings.IndexByte("-_.T", name[end]) >= 0); end++ {
			}
			for end > i+1 && (name[end-1] < '0' || name[end-1] > '9') {
				end-- // a separator belongs to what follows
			}
			if end == i+1 {
				end = i
			}
		}
		if end == i {
			b.WriteByte(name[i])
			end = i + 1
		}
		i = end
	}
	return b.String()
}
