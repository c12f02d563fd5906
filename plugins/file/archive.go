package file

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxArchives is how many compressed files are read at once: each takes its
	// decompressor's memory.
	maxArchives = 2
	// maxZstd bounds what a zstd frame may ask for.
	maxZstd = 128 << 20
	// skipTurn is how much of a compressed file is passed over before it is
	// another's turn.
	skipTurn = 4 << 20
)

// archive is a compressed file as it is read, once, from its beginning to its
// end. Places in it are those of what comes out.
type archive struct {
	z    io.Reader
	end  func()
	buf  []byte // the anchor, and what follows it
	mark int    // the size of the anchor in buf

	skip   int64 // so much is passed over first
	anchor string
	there  bool // the log was left here, and this is it
	eof    bool
	failed error
}

// openArchive begins to read; at is where the log was left, and anchor what the
// hash of what stands before that must be.
func openArchive(f io.Reader, ext string, at int64, anchor string) (*archive, error) {
	z, end, err := decompress(f, ext)
	if err != nil {
		return nil, err
	}
	return &archive{z: z, end: end, skip: at, anchor: anchor}, nil
}

func decompress(f io.Reader, ext string) (z io.Reader, end func(), err error) {
	b := bufio.NewReaderSize(f, 64<<10)
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case ".zst":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstd), zstd.WithDecoderMaxMemory(maxZstd))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case ".bz2":
		return bzip2.NewReader(b), func() {}, nil
	}
	return nil, nil, fmt.Errorf("no compression is called %q", ext)
}

func (a *archive) close() {
	if a.end != nil {
		a.end()
		a.end = nil
	}
	a.buf = nil
}

// headOf is what a file begins with, decompressed.
func headOf(c candidate) ([]byte, error) {
	f, _, err := openFound(c.path, c.key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ext := compression(c.path)
	if ext == "" {
		return bytesAt(f, 0, headSize), nil
	}
	z, end, err := decompress(f, ext)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.path, err)
	}
	defer end()
	b := make([]byte, headSize)
	n, err := io.ReadFull(z, b)
	if err != nil && !errors.Is(err, io.EOF) && !wholeStream(err, n) {
		return nil, fmt.Errorf("read %s: %w", c.path, err)
	}
	return b[:n], nil
}

// wholeStream tells io.ReadFull's word for a stream that ended early from a
// decompressor's: both are io.ErrUnexpectedEOF. What came out of a broken one is
// looked at all the same; reading it on will say what is wrong.
func wholeStream(err error, n int) bool { return errors.Is(err, io.ErrUnexpectedEOF) && n > 0 }

// fill reads until there are n bytes behind the anchor, or the end.
func (a *archive) fill(n int) {
	for len(a.buf)-a.mark < n && !a.eof && a.failed == nil {
		if len(a.buf) == cap(a.buf) {
			a.buf = append(a.buf, make([]byte, max(chunk, cap(a.buf)/2))...)[:len(a.buf)]
		}
		got, err := a.z.Read(a.buf[len(a.buf):min(cap(a.buf), a.mark+n)])
		a.buf = a.buf[:len(a.buf)+got]
		switch {
		case errors.Is(err, io.EOF):
			a.eof = true
		case err != nil:
			a.failed = err
		}
	}
}

// begins reads the log's beginning. errReplaced says that there is another; where
// the file breaks off before, who it is shows when it has changed.
func (a *archive) begins(st position) error {
	a.fill(headSize)
	if int64(len(a.buf)) >= st.HeadSize && hash(a.buf[:st.HeadSize]) == st.Head {
		return nil
	}
	if int64(len(a.buf)) < st.HeadSize && a.failed != nil {
		return a.failed
	}
	return errReplaced
}

// passOver gets to where the log was left and checks that it is the one.
func (a *archive) passOver() (more bool, err error) {
	// The anchor stays in the buffer.
	for turn := 0; a.skip > 0 && turn < skipTurn; {
		a.fill(int(min(a.skip, chunk)))
		n := int(min(a.skip, int64(len(a.buf)-a.mark)))
		if n == 0 {
			if a.failed != nil {
				return false, a.failed
			}
			return false, errReplaced // it is shorter than what was read of the log
		}
		a.advance(n)
		turn += n
	}
	if a.skip > 0 {
		return true, nil
	}
	if hash(a.buf[:a.mark]) != a.anchor {
		return false, errReplaced
	}
	return false, nil
}

// advance passes n bytes behind the anchor by.
func (a *archive) advance(n int) {
	at := a.mark + n
	from := max(0, at-anchorSize)
	a.buf = a.buf[:copy(a.buf, a.buf[from:])]
	a.mark = at - from
	a.skip = max(0, a.skip-int64(n))
}

// readArchive is read for compressed files. io.EOF says that it is done.
func (t *tail) readArchive(ctx context.Context) (progress bool, err error) {
	a := t.archive
	if !a.there {
		more, err := a.passOver()
		if more || err != nil {
			return more, err
		}
		a.there = true
	}
	for limit := chunk; ; limit *= 4 {
		a.fill(limit)
		e := grows
		if a.eof {
			e = final
		}
		n, err := t.emit(ctx, a.buf, a.mark, e)
		a.advance(n)
		if err != nil {
			return n > 0, err
		}
		switch {
		case a.failed != nil:
			return n > 0, fmt.Errorf("read %s: what follows byte %d cannot be decompressed: %w", t.path, t.off, a.failed)
		case a.eof:
			return n > 0, io.EOF
		case n > 0 || limit > t.r.cutter.room():
			return true, nil
		}
	}
}

// endArchive remembers that a compressed file needs no more reading as long as it
// does not change. end says that it was read to its end.
func (s *state) endArchive(p *position, size int64, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ended = size
	if !end {
		return
	}
	if p.sent > p.Offset {
		p.end = p.sent
		return
	}
	p.Done = size
	s.dirty = true
}

// archives is how many compressed files are open.
func (r *reader) archives() (n int) {
	for _, t := range r.tails {
		if t.archive != nil {
			n++
		}
	}
	return n
}
