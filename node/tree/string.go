package tree

import (
	"unicode/utf16"
	"unicode/utf8"
)

// plain marks the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string, without copying it where nothing is escaped.
func (p *parser) text() (string, error) {
	start := p.i + 1
	i := start
	for i < len(p.s) && plain[p.s[i]] {
		i++
	}
	if i < len(p.s) && p.s[i] == '"' {
		p.i = i + 1
		return p.s[start:i], nil
	}
	return p.longText(start, i)
}

// longText reads on where a byte that is not plain was met.
func (p *parser) longText(start, i int) (string, error) {
	var b []byte // set once the string differs from the source
	from := start
	for i < len(p.s) {
		c := p.s[i]
		switch {
		case plain[c]:
			i++
		case c == '"':
			p.i = i + 1
			if b == nil {
				return p.s[start:i], nil
			}
			return string(append(b, p.s[from:i]...)), nil
		case c == '\\':
			b = append(b, p.s[from:i]...)
			var n int
			if b, n = unescape(b, p.s[i:]); n == 0 {
				p.i = i
				return "", p.fail("bad escape")
			}
			i += n
			from = i
		case c < 0x20:
			p.i = i
			return "", p.fail("control character in a string")
		default:
			r, size := utf8.DecodeRuneInString(p.s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, p.s[from:i]...)
				b = utf8.AppendRune(b, utf8.RuneError)
				from = i + 1
			}
			i += size
		}
	}
	p.i = i
	return "", p.fail("string without end")
}

// unescape appends what the escape at the start of s stands for, and gives its
// length in s, 0 for a bad one. A lone surrogate is U+FFFD.
func unescape(b []byte, s string) ([]byte, int) {
	if len(s) < 2 {
		return b, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return append(b, s[1]), 2
	case 'b':
		return append(b, '\b'), 2
	case 'f':
		return append(b, '\f'), 2
	case 'n':
		return append(b, '\n'), 2
	case 'r':
		return append(b, '\r'), 2
	case 't':
		return append(b, '\t'), 2
	case 'u':
		r, ok := hex4(s)
		if !ok {
			return b, 0
		}
		if !utf16.IsSurrogate(r) {
			return utf8.AppendRune(b, r), 6
		}
		if low, ok := hex4(s[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return utf8.AppendRune(b, both), 12
			}
		}
		return utf8.AppendRune(b, utf8.RuneError), 6
	}
	return b, 0
}

// hex4 reads \uXXXX.
func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[2:6]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

const hexDigits = "0123456789abcdef"

// AppendString appends a text as a JSON string.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[from:i]...)
				b = utf8.AppendRune(b, utf8.RuneError)
				from = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// AppendJSON appends the node as compact JSON.
func (n *Node) AppendJSON(b []byte) []byte {
	switch n.kind {
	case Null, Missing:
		return append(b, "null"...)
	case False:
		return append(b, "false"...)
	case True:
		return append(b, "true"...)
	case Number:
		return append(b, n.text...)
	case String:
		return AppendString(b, n.text)
	}
	open, end := byte('['), byte(']')
	if n.kind == Object {
		open, end = '{', '}'
	}
	b = append(b, open)
	list := n.kids.list
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if n.kind == Object {
			b = append(AppendString(b, list[i].key), ':')
		}
		b = list[i].AppendJSON(b)
	}
	return append(b, end)
}
