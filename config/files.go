package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds the files of one pipeline folder.
const maxFiles = 10_000

// Stamp tells two states of a pipeline folder apart by the names, sizes and
// modification times of its files, as the reference engine does. The zero
// Stamp is the state of no folder.
type Stamp string

// file is one pipeline file.
type file struct {
	path string // with the folder before it
	info fs.FileInfo
}

// listing is a pipeline folder at a moment.
type listing struct {
	files   []file // in the order in which they are read
	folders []string
	report  Report
}

// list walks a pipeline folder. Links to files are followed, links to folders
// are not; neither does the reference engine.
func list(dir string) *listing {
	l := &listing{}
	// The separator makes the folder itself be followed where it is a link.
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, e fs.DirEntry, err error) error {
		path = filepath.Clean(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if path == filepath.Clean(dir) {
				l.add(RuleFileNotRead, Warning, path, "create it and put pipeline files there", "there is no pipeline folder")
			}
			return nil // it went away while the folder was read
		case err != nil:
			l.add(RuleFileNotRead, Error, path, "let the node's user read it", "cannot read the folder: %v", reason(err))
			return fs.SkipDir
		case e.IsDir():
			l.folders = append(l.folders, path)
			if path != filepath.Clean(dir) && filepath.Ext(path) == ".yaml" {
				l.add(RuleFileNotRead, Warning, path, "", "this is a folder; files in it are read")
			}
			return nil
		}
		l.entry(path, e)
		if len(l.files) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		l.add(RuleFileNotRead, Error, dir, "move what is not configuration elsewhere", "cannot list the folder: %v", err)
	}
	slices.SortFunc(l.files, func(a, b file) int {
		return cmp.Or(
			natural(filepath.Base(a.path), filepath.Base(b.path)),
			// The reference leaves this open; here equal names have an order too.
			strings.Compare(a.path, b.path),
		)
	})
	l.files = l.once()
	return l
}

func (l *listing) add(rule string, s Severity, path, hint, format string, args ...any) {
	l.report = append(l.report, Problem{Position: Position{File: path}, Severity: s, Rule: rule, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// entry takes one file, or says why not.
func (l *listing) entry(path string, e fs.DirEntry) {
	switch ext := filepath.Ext(path); {
	case ext == ".yaml":
	case isCases(path):
		return // for epmesh test
	case ext == ".yml", strings.EqualFold(ext, ".yaml"):
		l.add(RuleFileNotRead, Warning, path, "rename it to "+strings.TrimSuffix(filepath.Base(path), ext)+".yaml", "the file is not read: its name does not end in .yaml")
		return
	case e.Type()&fs.ModeSymlink != 0:
		if info, err := os.Stat(path); err == nil && info.IsDir() && !strings.HasPrefix(filepath.Base(path), ".") {
			l.add(RuleFileNotRead, Warning, path, "make it a folder, or link its files", "the folder behind this link is not read")
		}
		return
	default:
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && e.Type()&fs.ModeSymlink != 0:
		// An error here would make the lock files of editors, links to
		// nowhere, refuse a reload.
		l.add(RuleFileNotRead, Warning, path, "mend or remove the link", "the link leads to no file: %v", reason(err))
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		l.add(RuleFileNotRead, Error, path, "let the node's user read it", "cannot read the file: %v", reason(err))
	case !info.Mode().IsRegular():
		l.add(RuleFileNotRead, Warning, path, "", "this is not read: it is no regular file but a %s", kindOfMode(info.Mode()))
	default:
		l.files = append(l.files, file{path: path, info: info})
	}
}

// once leaves out a file that is found a second time behind a link, as mounted
// Kubernetes ConfigMaps show each: its pipelines would run twice.
func (l *listing) once() []file {
	type size = int64
	same := make(map[size][]file)
	return slices.DeleteFunc(l.files, func(f file) bool {
		for _, other := range same[f.info.Size()] {
			if os.SameFile(f.info, other.info) {
				l.add(RuleFileNotRead, Warning, f.path, "", "this is the same file as %s and is read once", other.path)
				return true
			}
		}
		same[f.info.Size()] = append(same[f.info.Size()], f)
		return false
	})
}

func (l *listing) stamp() Stamp {
	h := hasher{sha256.New()}
	for _, f := range l.files {
		h.text(f.path)
		h.number(uint64(f.info.Size()))
		h.number(uint64(f.info.ModTime().UnixNano()))
	}
	return Stamp(hex.EncodeToString(h.Sum(nil)))
}

// read returns a file's bytes, or reports why not.
func (l *listing) read(path string) ([]byte, bool) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false // gone since it was listed; the next reload knows
	}
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxFileSize+1)); err == nil {
			return data, true
		}
	}
	l.add(RuleFileNotRead, Error, path, "let the node's user read it", "cannot read the file: %v", reason(err))
	return nil, false
}

// reason is an error without the path, which stands before it already.
func reason(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

func kindOfMode(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// natural compares names so that numbers in them count by value: "2.yaml"
// comes before "10.yaml", and digits before everything else.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			// Without leading zeros the longer number is the larger.
			m, n := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
				return c
			}
			a, b = a[x:], b[y:]
			continue
		}
		if x > 0 || y > 0 {
			return cmp.Compare(y, x)
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is the length of the number that s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
