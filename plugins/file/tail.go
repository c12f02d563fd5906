package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// chunk is how much of one file is read before it is another's turn.
const chunk = 256 << 10

// errReplaced says that a file does not hold any more what was read of it.
var errReplaced = errors.New("the file holds something else now")

// errMoved says that another file is under the name by now.
var errMoved = errors.New("the file was renamed since it was found")

// tail reads one open file, under whatever name it has. It keeps nothing of the
// file but where it is: a record that is not whole yet is read again with what
// follows it.
type tail struct {
	r    *reader
	path string
	key  fileKey
	pos  *position
	f    *os.File

	off    int64  // where the first record begins that is not sent
	anchor []byte // what stands before off
	cuts   []int64
	head   string // of the first headSize bytes
	headed int64

	size  int64     // at the last look
	mtime time.Time // likewise
	grew  time.Time // when it last had something new
	more  bool      // the last look left something
	named bool      // it is at its path

	archive *archive // of a compressed file
}

// openFile opens a regular file and nothing else: opening a pipe would wait for
// its other end.
func openFile(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("is no regular file")}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openFound opens a file that was found under a path. errMoved says that it is
// there no more.
func openFound(path string, key fileKey) (*os.File, os.FileInfo, error) {
	f, info, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errMoved
	}
	if err == nil && keyOf(info) != key {
		f.Close()
		return nil, nil, errMoved
	}
	return f, info, err
}

// openTail opens a file that holds a log, and takes that up where it was left.
// errReplaced says that the file does not hold it.
func (r *reader) openTail(path string, key fileKey, p *position) (*tail, error) {
	f, info, err := openFound(path, key)
	if err != nil {
		return nil, err
	}
	st := r.state.get(p)
	t := &tail{
		r: r, path: path, key: key, pos: p, f: f, head: st.Head, headed: st.HeadSize, cuts: st.Cuts,
		grew: time.Now(), named: true, more: true, size: -1,
	}
	off, anchor := st.reached()
	t.off = off
	if ext := compression(path); ext != "" {
		if t.archive, err = openArchive(f, ext, off, anchor); err != nil {
			f.Close()
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if err := t.archive.begins(st); err != nil {
			t.close()
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		t.size, t.mtime = info.Size(), info.ModTime()
		return t, nil
	}
	t.anchor = anchorAt(f, off)
	if info.Size() < off || hash(t.anchor) != anchor || !t.sameHead() {
		f.Close()
		return nil, errReplaced
	}
	return t, nil
}

func (t *tail) close() {
	if t.archive != nil {
		t.archive.close()
	}
	t.f.Close()
}

// read sends the records that are there, up to a chunk, and reports whether
// there was one.
func (t *tail) read(ctx context.Context) (progress bool, err error) {
	if t.archive != nil {
		return t.readArchive(ctx)
	}
	info, err := t.f.Stat()
	if err != nil {
		return false, err
	}
	size := info.Size()
	if size != t.size || !info.ModTime().Equal(t.mtime) {
		t.size, t.mtime, t.grew, t.more = size, info.ModTime(), time.Now(), true
	}
	if size < t.off {
		return false, errReplaced
	}
	if !t.more {
		return false, t.flush(ctx)
	}
	if t.mustKnow(size) {
		return true, nil
	}
	t.more = false
	for limit := int64(chunk); ; limit *= 4 {
		at := t.off - int64(len(t.anchor))
		b := t.r.window(len(t.anchor) + int(min(size-t.off, limit)))
		n, err := t.f.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return progress, fmt.Errorf("read %s: %w", t.path, err)
		}
		// Only now, so that what was read before a truncation is known to be that.
		if !bytes.HasPrefix(b[:n], t.anchor) || !t.sameHead() {
			return progress, errReplaced
		}
		sent, err := t.emit(ctx, b[:n], len(t.anchor), grows)
		progress = progress || sent > 0
		if err != nil {
			return progress, err
		}
		if left := size - t.off; sent > 0 || left <= limit || limit > int64(t.r.cutter.room()) {
			t.more = sent > 0 && int64(sent)+left > limit
			t.growHead(size)
			return progress, nil
		}
	}
}

// emit sends the records of b, which begins with the anchor; the first record
// begins at start. It returns how many bytes were sent.
func (t *tail) emit(ctx context.Context, b []byte, start int, e ending) (sent int, err error) {
	for from := start; ; {
		size := t.cut(b[from:], e)
		if size == 0 {
			t.anchor = append(t.anchor[:0], b[max(0, from-anchorSize):from]...)
			return from - start, nil
		}
		to := from + size
		if raw := text(b[from:to]); raw != "" {
			if err := t.send(ctx, raw, t.off, t.off+int64(size), hash(b[max(0, to-anchorSize):to])); err != nil {
				t.anchor = append(t.anchor[:0], b[max(0, from-anchorSize):from]...)
				return from - start, err
			}
		}
		t.off += int64(size)
		from = to
	}
}

func (t *tail) cut(b []byte, e ending) int {
	t.cuts = slices.DeleteFunc(t.cuts, func(cut int64) bool { return cut <= t.off })
	if len(t.cuts) > 0 && t.cuts[0]-t.off <= int64(len(b)) {
		return t.r.cutter.cut(b[:t.cuts[0]-t.off], final)
	}
	return t.r.cutter.cut(b, e)
}

func (t *tail) send(ctx context.Context, raw string, from, to int64, anchor string) error {
	p, s := t.pos, t.r.state
	id := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "epmesh-file:%s:%d:%d:%s", p.Generation, from, to, raw))
	if err := t.r.send(ctx, id.String(), raw, func() { s.stored(p, to, anchor) }); err != nil {
		return err
	}
	s.sent(p, to, anchor)
	return nil
}

// flush ends a record of several lines that nothing was added to for a while.
func (t *tail) flush(ctx context.Context) error {
	if !t.r.cutter.grouped() || t.size <= t.off || time.Since(t.grew) < t.r.Multiline.Flush.D() {
		return nil
	}
	b := bytesAt(t.f, t.off, min(t.size-t.off, int64(t.r.cutter.room())))
	if size := t.cut(b, paused); size > 0 {
		return t.cutAt(t.off + int64(size))
	}
	return nil
}

// cutAt writes down that a record ends there. It is sent when that is on disk:
// read again after a crash it ends at the same place, whatever follows it then.
func (t *tail) cutAt(end int64) error {
	noted := false
	t.r.state.change(t.pos, func(p *position) {
		if noted = len(p.Cuts) < maxCuts; noted {
			p.Cuts = append(p.Cuts, end)
		}
	})
	if noted {
		t.cuts = append(t.cuts, end)
		t.more, t.r.unsaved = true, true
	}
	return nil
}

// sameHead reports whether the file still begins as it did.
func (t *tail) sameHead() bool {
	return t.headed == 0 || hash(bytesAt(t.f, 0, t.headed)) == t.head
}

// growHead remembers more of the file's beginning.
func (t *tail) growHead(size int64) {
	if min(size, headSize) > t.headed {
		if b := headIn(bytesAt(t.f, 0, headSize)); int64(len(b)) > t.headed && hash(b[:t.headed]) == t.head {
			t.setHead(b)
		}
	}
}

// mustKnow has more of the file's beginning on disk before more of it is sent, so
// that after a crash a copy of it will be known.
func (t *tail) mustKnow(size int64) bool {
	before := t.headed
	if before < evidence && size >= evidence || before < headSize && size >= headSize {
		t.growHead(size)
	}
	if t.headed == before || t.headed < evidence {
		return false
	}
	t.r.unsaved = true
	return true
}

func (t *tail) setHead(b []byte) {
	t.headed, t.head = int64(len(b)), hash(b)
	t.r.state.change(t.pos, func(p *position) { p.Head, p.HeadSize = t.head, t.headed })
}

// finish sends what is left as a record and closes the file.
func (t *tail) finish(ctx context.Context) error {
	defer t.close()
	for t.archive == nil {
		progress, err := t.read(ctx)
		if errors.Is(err, errReplaced) {
			return nil
		}
		if err != nil {
			return err
		}
		if progress || t.more && len(t.cuts) > 0 {
			if err := t.r.saveCuts(); err != nil {
				return err
			}
			continue
		}
		if t.size <= t.off || slices.Contains(t.cuts, t.size) {
			return nil
		}
		if err := t.cutAt(t.size); err != nil {
			return err
		}
		if !t.more {
			return nil // too many cuts wait for the node; the end is read again at the next start
		}
		if err := t.r.saveCuts(); err != nil {
			return err
		}
	}
	return nil
}
