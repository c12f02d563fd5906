package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// headSize is how much of a file's beginning tells it from another.
const headSize = 1024

// fileKey is a file's place on the disk.
type fileKey struct{ device, inode uint64 }

func keyOf(info os.FileInfo) fileKey {
	st := info.Sys().(*syscall.Stat_t)
	return fileKey{uint64(st.Dev), st.Ino}
}

// tail reads one open file, under whatever name it has.
type tail struct {
	r     *reader
	f     *os.File
	key   fileKey
	pos   position // as of opening; Offset and Head are the state's
	lines *lines
	// quiet is when a line was last read; a renamed file is read until that is a
	// while ago.
	quiet time.Time
	// sent is where the last line ends that was sent.
	sent int64
}

// openTail opens a file where it was left, or anew. The generation of a new one
// is on disk when openTail returns. atEnd skips what a new file already holds.
func (r *reader) openTail(path string, atEnd bool) (*tail, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	t := &tail{r: r, f: f, key: keyOf(info), quiet: time.Now()}
	kept, ok := r.state.get(t.key)
	if ok && kept.Offset <= info.Size() && headOf(f, kept.HeadSize) == kept.Head {
		t.pos = kept
		if kept.Path != path {
			r.state.update(t.key, func(p *position) { p.Path = path })
		}
	} else {
		if ok {
			r.Logger.Info("another file in the place of a known one, reading it whole", "file", path)
			atEnd = false
		}
		t.pos = position{Path: path, Device: t.key.device, Inode: t.key.inode, Generation: newGeneration()}
		if atEnd {
			t.pos.Offset = info.Size()
		}
		t.pos.HeadSize = min(info.Size(), headSize)
		t.pos.Head = headOf(f, t.pos.HeadSize)
		if err := r.state.set(t.pos); err != nil {
			f.Close()
			return nil, err
		}
	}
	if _, err := f.Seek(t.pos.Offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	t.lines = newLines(f, t.pos.Offset, r.MaxLine)
	return t, nil
}

// read sends every whole line that is there and reports whether there was one.
func (t *tail) read(ctx context.Context) (progress bool, err error) {
	if err := t.checkTruncated(); err != nil {
		return false, err
	}
	t.growHead()
	for {
		l, err := t.lines.next()
		if errors.Is(err, io.EOF) {
			return progress, nil
		}
		if err != nil {
			return progress, fmt.Errorf("read %s: %w", t.pos.Path, err)
		}
		progress = true
		if err := t.send(ctx, l); err != nil {
			return progress, err
		}
	}
}

// finish sends a last line without an end and closes the file.
func (t *tail) finish(ctx context.Context) error {
	defer t.f.Close()
	return t.send(ctx, t.lines.last())
}

func (t *tail) send(ctx context.Context, l line) error {
	t.quiet = time.Now()
	if len(l.text) > 0 {
		t.sent = l.end
	}
	key, generation := t.key, t.pos.Generation
	id := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "epmesh-file:%s:%d", generation, l.start))
	return t.r.send(ctx, id.String(), l.text, func() { t.r.state.stored(key, generation, l.end) })
}

// checkTruncated begins anew where the file has become shorter than what was
// read of it, as copytruncate leaves it.
func (t *tail) checkTruncated() error {
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() >= t.lines.base {
		return nil
	}
	t.r.Logger.Info("file was truncated, reading it from the beginning", "file", t.pos.Path)
	t.pos.Generation, t.pos.Offset = newGeneration(), 0
	t.pos.HeadSize = min(info.Size(), headSize)
	t.pos.Head = headOf(t.f, t.pos.HeadSize)
	if err := t.r.state.set(t.pos); err != nil {
		return err
	}
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	t.lines = newLines(t.f, 0, t.r.MaxLine)
	return nil
}

// growHead remembers more of the beginning of a file that was short when it was
// opened.
func (t *tail) growHead() {
	if t.pos.HeadSize >= headSize {
		return
	}
	info, err := t.f.Stat()
	if err != nil || min(info.Size(), headSize) <= t.pos.HeadSize {
		return
	}
	t.pos.HeadSize = min(info.Size(), headSize)
	t.pos.Head = headOf(t.f, t.pos.HeadSize)
	t.r.state.update(t.key, func(p *position) { p.Head, p.HeadSize = t.pos.Head, t.pos.HeadSize })
}

// headOf is the hash of a file's first n bytes; "" where it has fewer.
func headOf(f *os.File, n int64) string {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, 0); int64(got) < n && err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// text is a line as a log holds it: what is not UTF-8 cannot travel and becomes
// U+FFFD.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
