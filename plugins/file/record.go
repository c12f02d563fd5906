package file

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// cutter cuts bytes into records: lines, or groups of lines that patterns tell
// apart. Where it cuts depends only on the bytes from the record's beginning
// on: read again from there, the same records come out. Where time alone ends a
// record, the tail writes the cut down before it sends.
type cutter struct {
	maxLine int
	// A record of lines: start is what begins one, more is what goes on with one.
	start, more        *regexp.Regexp
	maxLines, maxBytes int
}

// ending says what is known about what follows the bytes.
type ending int

const (
	grows  ending = iota // more may follow
	paused               // more may follow, and what there is in whole lines is a record
	final                // nothing follows
)

func (c cutter) grouped() bool { return c.start != nil || c.more != nil }

// room is how many bytes may have to be seen before a record can be cut.
func (c cutter) room() int {
	if c.grouped() {
		return c.maxBytes + c.maxLine + utf8.UTFMax
	}
	return c.maxLine + utf8.UTFMax
}

// cut returns how many bytes the first record of b has, 0 where it is not whole
// yet.
func (c cutter) cut(b []byte, e ending) int {
	size := c.line(b, e)
	if !c.grouped() || size == 0 {
		return size
	}
	for lines := 1; lines < c.maxLines; lines++ {
		rest := b[size:]
		next := c.line(rest, e)
		if next == 0 {
			// What there is of the next line may yet become a piece of a longer one,
			// which may end before its last bytes, within a character.
			if e != grows || size+min(len(rest), c.maxLine-utf8.UTFMax+1) > c.maxBytes {
				return size
			}
			return 0
		}
		if size+next > c.maxBytes {
			return size
		}
		// What goes on with a line that was too long is no line of its own.
		if b[size-1] == '\n' && c.begins(rest[:next]) {
			return size
		}
		size += next
	}
	return size
}

// line is the size of the first line of b with its end, of a piece of it where
// it is too long, or 0.
func (c cutter) line(b []byte, e ending) int {
	if n := bytes.IndexByte(b[:min(len(b), c.maxLine+1)], '\n'); n >= 0 {
		return n + 1
	}
	if len(b) > c.maxLine {
		cut := c.maxLine
		for back := 1; back < utf8.UTFMax && !utf8.RuneStart(b[cut]); back++ {
			cut--
		}
		return cut
	}
	if e == final {
		return len(b)
	}
	return 0
}

func (c cutter) begins(line []byte) bool {
	line = trimEnd(line)
	return c.start != nil && c.start.Match(line) || c.more != nil && !c.more.Match(line)
}

// trimEnd takes a line end off.
func trimEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// text is a record as a log holds it: without its last line end, and with
// U+FFFD for what is not UTF-8, which cannot travel. A record of nothing but
// line ends is "".
func text(b []byte) string {
	// NULs stand where a writer goes on at its old place in a truncated file.
	b = bytes.TrimLeft(trimEnd(b), "\x00")
	if len(bytes.TrimRight(b, "\r\n")) == 0 {
		return ""
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
}
