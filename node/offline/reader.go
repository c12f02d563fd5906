package offline

import (
	"errors"
	"io"
)

// ErrLong is the error of a line above the bound of a Reader.
var ErrLong = errors.New("the line is too long")

// Reader reads an input line by line, for commands whose lines are no logs. It
// is used by one goroutine.
type Reader struct{ lines *lines }

// NewReader makes a Reader that takes lines of at most limit bytes.
func NewReader(in io.Reader, limit int) *Reader { return &Reader{newLines(in, limit)} }

// Next is the next line, without its end and in memory of its own, and its
// number from 1. The error is ErrLong for a line that is too long, which was
// passed over, and io.EOF behind the last.
func (r *Reader) Next() (line []byte, number int, err error) {
	line, long, err := r.lines.next(nil)
	if err == nil && long {
		if err = r.lines.rest(line, func([]byte) error { return nil }); err == nil {
			err = ErrLong
		}
		line = nil
	}
	return line, r.lines.n, err
}

// Ready reports whether the next line has come already, so that Next does not
// wait.
func (r *Reader) Ready() bool { return r.lines.ready() }

// Plain is an error of protojson about one line of input, without what varies
// from build to build, and bounded.
func Plain(err error) string { return plain(err) }
