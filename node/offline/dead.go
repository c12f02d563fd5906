package offline

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// deadLine is a line that became no event, as it is kept.
type deadLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
	// Log is the line as it came; where it is not UTF-8, Bytes is it, as base64.
	Log   *string `json:"log,omitempty"`
	Bytes []byte  `json:"bytes,omitempty"`
}

// bury keeps a line, in one write.
func bury(w io.Writer, number int, line []byte, reason string) error {
	if w == nil {
		return nil
	}
	d := deadLine{Line: number, Reason: reason}
	if utf8.Valid(line) {
		text := string(line)
		d.Log = &text
	} else {
		d.Bytes = line
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(d)
	if err == nil {
		_, err = w.Write(b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("keep a dead line: %w", err)
	}
	return nil
}

// burial keeps a line that is too long to be held, piece by piece, as Bytes.
type burial struct {
	w    *bufio.Writer // nil: the line is let go
	size int64
	text io.WriteCloser
}

func newBurial(w io.Writer, number, limit int) (*burial, error) {
	if w == nil {
		return &burial{}, nil
	}
	b := &burial{w: bufio.NewWriterSize(w, 64<<10)}
	b.text = base64.NewEncoder(base64.StdEncoding, b.w)
	reason, err := json.Marshal(tooLong(limit))
	if err == nil {
		_, err = fmt.Fprintf(b.w, `{"line":%d,"reason":%s,"bytes":"`, number, reason)
	}
	return b, b.wrap(err)
}

func tooLong(limit int) string { return fmt.Sprintf("line of more than %d bytes", limit) }

func (b *burial) write(piece []byte) error {
	b.size += int64(len(piece))
	if b.w == nil {
		return nil
	}
	_, err := b.text.Write(piece)
	return b.wrap(err)
}

func (b *burial) end() error {
	if b.w == nil {
		return nil
	}
	err := b.text.Close()
	if err == nil {
		_, err = fmt.Fprintf(b.w, "\",\"size\":%d}\n", b.size)
	}
	if err == nil {
		err = b.w.Flush()
	}
	return b.wrap(err)
}

func (b *burial) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("keep a dead line: %w", err)
	}
	return nil
}
