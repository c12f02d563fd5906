package syslog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// frames cuts a TCP stream into messages, by RFC 6587: a message that begins
// with a digit is counted ("12 <34>1 ..."), any other ends with a newline. No
// more than max bytes of a message are kept; cut counts those that had more.
type frames struct {
	r   *bufio.Reader
	max int
	cut int
	buf []byte
	// framing is counted, newline or, for any mixture, auto.
	framing string
}

func newFrames(r io.Reader, max int, framing string) *frames {
	return &frames{r: bufio.NewReaderSize(r, 16<<10), max: max, framing: framing}
}

// maxCount bounds the count of a frame, in digits.
const maxCount = 8

var errUncounted = errors.New("a message has no length before it: the listener's framing is counted")

var errCount = errors.New(`a message begins with a digit and has no length: a counted message is "LENGTH SPACE MESSAGE", any other begins with "<"; the framing newline takes lines that begin with digits`)

// next returns the next message, which may be empty; it is valid until the next
// call. A stream that ends inside a message gives what there is of it, then
// io.EOF; a counted message that is not whole is io.ErrUnexpectedEOF.
func (f *frames) next() ([]byte, error) {
	b, err := f.r.Peek(1)
	if err != nil {
		return nil, err
	}
	digit := b[0] >= '1' && b[0] <= '9'
	switch {
	case f.framing == "counted" && (b[0] == '\n' || b[0] == '\r'):
		// Some senders end a counted message with a line end besides.
		_, err := f.r.Discard(1)
		return nil, err
	case f.framing == "counted" && !digit:
		return nil, errUncounted
	case digit && f.framing != "newline":
		return f.counted()
	}
	return f.delimited()
}

func (f *frames) counted() ([]byte, error) {
	n := 0
	for range maxCount + 1 {
		c, err := f.r.ReadByte()
		if err != nil {
			return nil, unexpected(err)
		}
		if c == ' ' {
			return f.take(n)
		}
		if c < '0' || c > '9' {
			return nil, errCount
		}
		n = n*10 + int(c-'0')
	}
	return nil, errCount
}

func (f *frames) take(n int) ([]byte, error) {
	keep := min(n, f.max)
	if cap(f.buf) < keep {
		f.buf = make([]byte, keep)
	}
	f.buf = f.buf[:keep]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return nil, unexpected(err)
	}
	if n > keep {
		f.cut++
		if _, err := f.r.Discard(n - keep); err != nil {
			return nil, unexpected(err)
		}
	}
	return trim(f.buf), nil
}

func (f *frames) delimited() ([]byte, error) {
	f.buf = f.buf[:0]
	long := false
	for {
		piece, err := f.r.ReadSlice('\n')
		end := bytes.TrimSuffix(piece, []byte("\n"))
		if room := f.max - len(f.buf); len(end) > room {
			end, long = end[:room], true
		}
		f.buf = append(f.buf, end...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long {
			f.cut++
		}
		if errors.Is(err, io.EOF) && len(f.buf) > 0 {
			err = nil
		}
		return trim(f.buf), err
	}
}

// trim takes line ends and the NUL that some senders add off a message's end.
func trim(b []byte) []byte { return bytes.TrimRight(b, "\r\n\x00") }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
