package file

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// lines cuts what a reader gives into lines of at most max bytes and keeps count
// of where each stands. A reader that ends may go on later, as a growing file
// does.
type lines struct {
	r     io.Reader
	max   int
	buf   []byte
	begin int   // buf[begin:] is not handed out yet
	seen  int   // of that, this much holds no line end
	base  int64 // where buf[begin] stands in the file
}

func newLines(r io.Reader, offset int64, max int) *lines {
	return &lines{r: r, max: max, base: offset, buf: make([]byte, 0, 64<<10)}
}

// line is one line without its end, and where it and what follows it begin.
type line struct {
	text       []byte // valid until the next call
	start, end int64
}

// next returns the next whole line; one that is longer than max comes in pieces.
// io.EOF says that there is none now.
func (l *lines) next() (line, error) {
	for {
		rest := l.buf[l.begin:]
		n := bytes.IndexByte(rest[l.seen:], '\n')
		switch {
		case n >= 0 && l.seen+n <= l.max:
			n += l.seen
			return l.take(bytes.TrimSuffix(rest[:n], []byte("\r")), n+1), nil
		case len(rest) > l.max:
			cut := l.max
			for back := 0; back < utf8.UTFMax && !utf8.RuneStart(rest[cut]); back++ {
				cut--
			}
			return l.take(rest[:cut], cut), nil
		}
		l.seen = len(rest)
		if err := l.fill(); err != nil {
			return line{}, err
		}
	}
}

// last is what stands after the last line end, once nothing more will come.
func (l *lines) last() line {
	rest := l.buf[l.begin:]
	return l.take(rest, len(rest))
}

func (l *lines) take(text []byte, size int) line {
	at := l.base
	l.begin += size
	l.base += int64(size)
	l.seen = 0
	return line{text: text, start: at, end: l.base}
}

// fill reads at least one byte, or returns the reader's error.
func (l *lines) fill() error {
	if l.begin > 0 {
		l.buf = l.buf[:copy(l.buf, l.buf[l.begin:])]
		l.begin = 0
	}
	if len(l.buf) == cap(l.buf) {
		l.buf = append(l.buf, make([]byte, cap(l.buf))...)[:len(l.buf)]
	}
	for range 100 {
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
