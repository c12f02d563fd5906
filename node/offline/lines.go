package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lines reads an input line by line.
type lines struct {
	r     *bufio.Reader
	limit int // bytes of one line
	n     int // the number of the line that was read last
}

func newLines(r io.Reader, limit int) *lines {
	return &lines{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

var byteOrderMark = []byte("\ufeff")

// next reads a line without its end into to. Where the line is too long, long is
// set and line is its beginning: rest must read the rest before next is called
// again. err is io.EOF after the last line.
func (l *lines) next(to []byte) (line []byte, long bool, err error) {
	line = to[:0]
	for {
		piece, err := l.r.ReadSlice('\n')
		line = append(line, piece...)
		more := errors.Is(err, bufio.ErrBufferFull)
		if more && len(line) <= l.limit {
			continue
		}
		if !more && err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return nil, false, err
		}
		if l.n++; l.n == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(text) > l.limit {
			return line, true, nil
		}
		return text, false, nil
	}
}

// rest gives what is left of a line that is too long, piece by piece, without
// its end.
func (l *lines) rest(begun []byte, piece func([]byte) error) error {
	held := false // a carriage return, which may be part of the end
	for b, err := begun, bufio.ErrBufferFull; ; b, err = l.r.ReadSlice('\n') {
		text, ended := bytes.CutSuffix(b, []byte("\n"))
		if held && len(text) > 0 {
			if err := piece([]byte("\r")); err != nil {
				return err
			}
			held = false
		}
		if bare, ok := bytes.CutSuffix(text, []byte("\r")); ok {
			text, held = bare, true
		}
		if err := piece(text); err != nil {
			return err
		}
		switch {
		case ended, errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// ready reports whether a whole line has been read from the input already.
func (l *lines) ready() bool {
	b, err := l.r.Peek(l.r.Buffered())
	return err == nil && bytes.IndexByte(b, '\n') >= 0
}

// Line reads one line of an input: number counts from 1, and 0 asks for the
// first that is not blank. It gives the line's number; the error is io.EOF if
// there is none.
func Line(in io.Reader, number int) (line []byte, at int, err error) {
	l := newLines(in, maxLine)
	for {
		line, long, err := l.next(nil)
		if err == nil && long && l.n != number && number > 0 {
			err = l.rest(line, func([]byte) error { return nil })
		} else if err == nil && long {
			err = fmt.Errorf("line %d: %s", l.n, tooLong(maxLine))
		}
		if err != nil || l.n == number || number == 0 && len(bytes.TrimSpace(line)) > 0 {
			return line, l.n, err
		}
	}
}
