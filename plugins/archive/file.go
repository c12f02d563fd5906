package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"time"
)

const (
	fileMode   = 0o640
	folderMode = 0o750
)

// file is one that is written. What is committed is its first size bytes.
type file struct {
	folder string
	kind   string
	number int
	suffix string
	node   string

	f     *os.File // nil while it is parked
	begun time.Time
	used  time.Time

	size  int64
	lines int64
	raw   int64
	sum   hash.Hash
	// torn: behind size there may be something; spoiled: nothing is added any
	// more, since a sync has failed and what the disk has is not sure.
	torn, spoiled bool
	// failed is what the last write of a commit came to.
	failed error
}

func (f *file) name(open bool) string {
	return path.Join(f.folder, fileName(f.kind, f.node, f.number, open, f.suffix))
}

// create makes a file with the next free number, and its folders.
func (w *writer) create(p place) (*file, error) {
	if err := w.makeFolders(p.folder()); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(w.root.FS(), p.folder())
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	f := &file{folder: p.folder(), kind: p.kind, node: w.node, suffix: w.codec.suffix(), begun: time.Now(), sum: sha256.New()}
	for _, e := range entries {
		if kind, number, _, _, ok := parseName(e.Name(), w.node); ok && kind == p.kind {
			f.number = max(f.number, number)
		}
	}
	f.number++
	if f.f, err = w.root.OpenFile(f.name(true), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode); err != nil {
		return nil, fmt.Errorf("make file: %w", err)
	}
	// The umask may take from the mode; a wider one was not asked for.
	if err := errors.Join(f.f.Chmod(fileMode), w.syncFolder(p.folder())); err != nil {
		f.f.Close()
		_ = w.root.Remove(f.name(true))
		return nil, fmt.Errorf("make file: %w", err)
	}
	return f, nil
}

// makeFolders makes each folder of a path, so that it survives a crash.
func (w *writer) makeFolders(folder string) error {
	if info, err := w.root.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	parent := path.Dir(folder)
	if parent != "." {
		if err := w.makeFolders(parent); err != nil {
			return err
		}
	}
	if err := w.root.Mkdir(folder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := w.syncFolder(parent); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return nil
}

func (w *writer) syncFolder(name string) error {
	d, err := w.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *file) reopen(root *os.Root) error {
	opened, err := root.OpenFile(f.name(true), os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	f.f = opened
	return nil
}

// park closes the file; what it holds is synced.
func (f *file) park() {
	_ = f.f.Close()
	f.f = nil
}

// append adds lines as one frame and returns once it is on the disk. Where that
// fails nothing of it stays.
func (f *file) append(c codec, lines []*line) error {
	if f.spoiled {
		return fmt.Errorf("write %s: it is given up after a failed sync", f.name(true))
	}
	if f.torn {
		if err := f.f.Truncate(f.size); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		f.torn = false
	}
	n := 0
	for _, l := range lines {
		n += len(l.text)
	}
	var content bytes.Buffer
	content.Grow(n)
	for _, l := range lines {
		content.Write(l.text)
	}
	frame, err := c.encode(make([]byte, 0, n/4+256), content.Bytes())
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	f.torn = true
	if _, err := f.f.WriteAt(frame, f.size); err != nil {
		if f.f.Truncate(f.size) == nil {
			f.torn = false
		}
		return fmt.Errorf("write: %w", err)
	}
	if err := f.f.Sync(); err != nil {
		// What failed to get to the disk may be forgotten by the system: another
		// sync would say nothing.
		f.spoiled = true
		_ = f.f.Truncate(f.size)
		return fmt.Errorf("sync: %w", err)
	}
	f.torn = false
	f.size += int64(len(frame))
	f.lines += int64(len(lines))
	f.raw += int64(n)
	f.sum.Write(frame)
	return nil
}

// manifest is what is written beside a file.
type manifest struct {
	File   string `json:"file"`
	Lines  int64  `json:"lines"`
	Bytes  int64  `json:"bytes"`
	Raw    int64  `json:"rawBytes"`
	SHA256 string `json:"sha256"`
	Begun  string `json:"begun,omitempty"`
	Ended  string `json:"ended"`
}

// finish ends a file: it gets its lasting name. One without lines goes.
func (w *writer) finish(p place, f *file) error {
	delete(w.files, p)
	if f.f != nil {
		if f.torn {
			_ = f.f.Truncate(f.size)
		}
		f.park()
	}
	return w.seal(f)
}

func (w *writer) seal(f *file) error {
	if f.lines == 0 {
		if err := w.root.Remove(f.name(true)); err != nil {
			return fmt.Errorf("remove empty file: %w", err)
		}
		return nil
	}
	if w.Manifest {
		m := manifest{
			File: path.Base(f.name(false)), Lines: f.lines, Bytes: f.size, Raw: f.raw, SHA256: hex.EncodeToString(f.sum.Sum(nil)),
			Begun: stamp(f.begun), Ended: stamp(time.Now()),
		}
		if err := w.writeManifest(f, m); err != nil {
			return err
		}
	}
	if err := w.root.Rename(f.name(true), f.name(false)); err != nil {
		return fmt.Errorf("end file: %w", err)
	}
	if err := w.syncFolder(f.folder); err != nil {
		return fmt.Errorf("end file: %w", err)
	}
	select {
	case w.tidy <- struct{}{}:
	default:
	}
	return nil
}

const manifestSuffix = ".json"

func (w *writer) writeManifest(f *file, m manifest) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	out, err := w.root.OpenFile(f.name(false)+manifestSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	_, err = out.Write(append(text, '\n'))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
