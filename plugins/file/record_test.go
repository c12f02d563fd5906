package file

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cutAll cuts bytes that are all there.
func cutAll(c cutter, b []byte, e ending) (records []string, rest string) {
	for {
		n := c.cut(b, e)
		if n == 0 {
			return records, string(b)
		}
		records = append(records, text(b[:n]))
		b = b[n:]
	}
}

func TestCutLines(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
		rest string
	}{
		{"a\nb\n", []string{"a", "b"}, ""},
		{"a\r\n\nb", []string{"a", ""}, "b"},
		{"0123456789\nx\n", []string{"0123456789", "x"}, ""},
		{"0123456789abc\nx\n", []string{"0123456789", "abc", "x"}, ""},
		{"0123456789abcdefghijklm", []string{"0123456789", "abcdefghij"}, "klm"},
		{"012345678\u00e9a\n", []string{"012345678", "\u00e9a"}, ""},
		{"\x00\x00\x00a\n\x00\n", []string{"a", ""}, ""},
		{"\xff\xffa\xfe\n", []string{"\uFFFDa\uFFFD"}, ""},
	} {
		got, rest := cutAll(cutter{maxLine: 10}, []byte(test.text), grows)
		if !slices.Equal(got, test.want) || rest != test.rest {
			t.Errorf("%q: %q and %q, want %q and %q", test.text, got, rest, test.want, test.rest)
		}
		if last, rest := cutAll(cutter{maxLine: 10}, []byte(test.text), final); rest != "" || len(last) < len(got) {
			t.Errorf("%q at the end: %q and %q", test.text, last, rest)
		}
	}
}

func TestCutGroups(t *testing.T) {
	start, more := regexp.MustCompile(`^\d`), regexp.MustCompile(`^\s`)
	for name, test := range map[string]struct {
		c    cutter
		text string
		e    ending
		want []string
		rest string
	}{
		"start":         {cutter{start: start}, "1 a\n b\n\n2 c\n", grows, []string{"1 a\n b\n"}, "2 c\n"},
		"start, final":  {cutter{start: start}, "1 a\n b\n2 c\nd", final, []string{"1 a\n b", "2 c\nd"}, ""},
		"start, paused": {cutter{start: start}, "1 a\n b\n2 c\nd", paused, []string{"1 a\n b", "2 c"}, "d"},
		"no start":      {cutter{start: start}, "a\nb\n1 c\n", grows, []string{"a\nb"}, "1 c\n"},
		"continuation":  {cutter{more: more}, "a\n b\nc\nd\n", grows, []string{"a\n b", "c"}, "d\n"},
		"both":          {cutter{start: start, more: more}, "1\n x\nend\n 2\n3\n", grows, []string{"1\n x", "end\n 2"}, "3\n"},
		"lines":         {cutter{more: more, maxLines: 2}, "a\n b\n c\n d\n e\n", grows, []string{"a\n b", " c\n d"}, " e\n"},
		"bytes":         {cutter{more: more, maxBytes: 11}, "a\n 345678\n 3456\nx\n", grows, []string{"a\n 345678", " 3456"}, "x\n"},
		"bytes, begun":  {cutter{more: more, maxBytes: 11}, "a\n 345678\n 3", grows, []string{"a\n 345678"}, " 3"},
		"long line":     {cutter{start: start, maxLine: 4, maxBytes: 8}, "1bcd2efg3ijk4\n5\n", grows, []string{"1bcd2efg", "3ijk4"}, "5\n"},
		"crlf":          {cutter{more: regexp.MustCompile(`^x$`)}, "a\r\nx\r\nb\r\n", grows, []string{"a\r\nx"}, "b\r\n"},
	} {
		c := test.c
		if c.maxLine == 0 {
			c.maxLine = 10
		}
		if c.maxLines == 0 {
			c.maxLines = 100
		}
		if c.maxBytes == 0 {
			c.maxBytes = 100
		}
		got, rest := cutAll(c, []byte(test.text), test.e)
		if !slices.Equal(got, test.want) || rest != test.rest {
			t.Errorf("%s: %q and %q, want %q and %q", name, got, rest, test.want, test.rest)
		}
	}
}

// Whatever the bytes, records cover them in order, none is larger than it may be,
// and reading in pieces, or again from any record's beginning, gives the same.
func FuzzCut(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), uint8(3), uint8(2), "", "")
	f.Add([]byte("1 a\n b\n c\n2 d\n"), uint8(9), uint8(2), `^\d`, "")
	f.Add([]byte("a\n b\nc\n\xff\xff d"), uint8(5), uint8(3), "", `^\s`)
	f.Fuzz(func(t *testing.T, data []byte, line, lines uint8, start, more string) {
		c := cutter{maxLine: 4 + int(line), maxLines: 2 + int(lines)}
		c.maxBytes = 2 * c.maxLine
		if len(start) > 20 || len(more) > 20 || len(data) > 4096 {
			return
		}
		var err error
		if start != "" {
			if c.start, err = regexp.Compile(start); err != nil {
				return
			}
		}
		if more != "" {
			if c.more, err = regexp.Compile(more); err != nil {
				return
			}
		}
		most := c.maxLine + 1
		if c.grouped() {
			most = max(most, c.maxBytes)
		}
		var ends []int
		for at, seen := 0, 0; ; {
			e := grows
			if seen == len(data) {
				e = final
			}
			n := c.cut(data[at:seen], e)
			if n > 0 {
				if n > most {
					t.Fatalf("a record of %d bytes, the bound is %d", n, most)
				}
				at += n
				ends = append(ends, at)
				continue
			}
			if e == final {
				if at != len(data) {
					t.Fatalf("%d bytes are left", len(data)-at)
				}
				break
			}
			if seen-at > c.room() {
				t.Fatalf("%d bytes make no record, room says %d", seen-at, c.room())
			}
			seen = min(len(data), seen+3)
		}
		from := 0
		for i, end := range ends {
			if n := c.cut(data[from:], final); from+n != end {
				t.Fatalf("read again, record %d ends at %d, not %d", i, from+n, end)
			}
			if s := text(data[from:end]); !strings.Contains(string(data), strings.TrimLeft(s, "\x00")) && !strings.ContainsRune(s, '\uFFFD') {
				t.Fatalf("%q is not in the file", s)
			}
			from = end
		}
	})
}

func TestFamily(t *testing.T) {
	for _, names := range [][]string{
		{"app.log", "app.log.1", "app.log.12.gz", "app.log-20261126", "app.log-20261126.zst", "app.1.log", "app-20261126.log", "app.log.2026-11-26T14", "app.log-20261126-1795.bz2"},
		{"messages", "messages.1", "messages-20261126.gz"},
		{"node.log", "node-1.log", "node-2.log"},
		{"a-b.log", "a-b.log.1"},
	} {
		for _, name := range names {
			if got := family("/var/log/" + name); got != names[0] {
				t.Errorf("%s is of family %s, want %s", name, got, names[0])
			}
		}
	}
}

func FuzzFamily(f *testing.F) {
	f.Add("app.log.1.gz")
	f.Add("-1-.2..log")
	f.Fuzz(func(t *testing.T, name string) {
		if len(family(name)) > len(name)+1 {
			t.Errorf("%q: %q", name, family(name))
		}
	})
}

// What is kept of heads and anchors tells logs apart, and is the same for a copy
// and what comes out of a decompressor.
func FuzzFingerprint(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), []byte("one\ntwp\n"), uint16(4))
	f.Fuzz(func(t *testing.T, a, b []byte, at uint16) {
		off := int64(min(int(at), len(a)))
		head := a[:min(off, headSize)]
		anchor := anchorAt(bytes.NewReader(a), off)
		if !bytes.HasSuffix(a[:off], anchor) || len(anchor) > anchorSize {
			t.Fatalf("anchor %q at %d of %q", anchor, off, a)
		}
		alike := len(b) >= int(off) && bytes.Equal(b[:len(head)], head) && bytes.Equal(anchorAt(bytes.NewReader(b), off), anchor)
		if got := hash(bytesAt(bytes.NewReader(b), 0, int64(len(head)))) == hash(head) && hash(anchorAt(bytes.NewReader(b), off)) == hash(anchor); got && !alike && int64(len(b)) >= off {
			t.Fatalf("%q is taken for %q at %d", b, a, off)
		}
		z, err := openArchive(bytes.NewReader(compress(t, ".gz", a)), ".gz", off, hash(anchor))
		if err != nil {
			t.Fatal(err)
		}
		defer z.close()
		for {
			more, err := z.passOver()
			if err != nil {
				t.Fatalf("the copy is not known at %d of %q: %v", off, a, err)
			}
			if !more {
				break
			}
		}
		z.fill(len(a))
		if got := z.buf[z.mark:]; !bytes.Equal(got, a[off:]) {
			t.Fatalf("%q follows %d, want %q", got, off, a[off:])
		}
	})
}
