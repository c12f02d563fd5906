package tree

import (
	"strings"
	"unique"

	"github.com/tidwall/gjson"
)

// Path is a dotted path, parsed once. Parts are keys of objects or indexes of
// arrays; a backslash takes the next character as it is. What gjson adds to
// that (wildcards, `#`, queries, pipes, modifiers) can be read, slowly, and not
// written. Paths are immutable.
type Path struct {
	text    string
	parts   []string
	special bool
	id      unique.Handle[string]
	hash    uint32
}

// maxPath bounds the length of a path in bytes; a longer one finds nothing.
const maxPath = 1024

// ParsePath never fails: a strange path is one that finds nothing.
func ParsePath(text string) *Path {
	p := &Path{text: text, id: unique.Make(text)}
	for i := range len(text) {
		p.hash = p.hash*31 + uint32(text[i])
	}
	p.hash ^= p.hash >> 15
	if len(text) > maxPath {
		return p
	}
	if p.special = isSpecial(text); !p.special {
		p.parts = split(text)
	}
	return p
}

// String is the path as it was written.
func (p *Path) String() string { return p.text }

// Parts are the keys and indexes on the way. They are not to be changed.
func (p *Path) Parts() []string { return p.parts }

// Top is the top-level field that the path leads to or below, "" where it finds
// nothing or is special.
func (p *Path) Top() string {
	if p.parts == nil {
		return ""
	}
	return p.parts[0]
}

// Special reports whether gjson reads more into the path than keys and indexes.
func (p *Path) Special() bool { return p.special }

// Hash spreads paths over small tables; equal paths have equal hashes.
func (p *Path) Hash() uint32 { return p.hash }

// Same reports whether two paths are written alike, at the cost of comparing
// two pointers.
func (p *Path) Same(q *Path) bool { return p == q || p.id == q.id }

func split(text string) []string {
	if strings.IndexByte(text, '\\') < 0 {
		return strings.Split(text, ".")
	}
	var (
		parts []string
		part  []byte
	)
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			if i++; i < len(text) {
				part = append(part, text[i])
			}
		case text[i] == '.':
			parts = append(parts, string(part))
			part = part[:0]
		default:
			part = append(part, text[i])
		}
	}
	return append(parts, string(part))
}

// isSpecial reports whether gjson reads more into a path than keys and
// indexes.
func isSpecial(text string) bool {
	if strings.HasPrefix(text, "..") {
		return true
	}
	start := true
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
			start = false
			continue
		case '*', '?', '#', '|':
			return true
		case '[', '{', '(', '!':
			if start {
				return true
			}
		case '@':
			if start {
				name := text[i+1:]
				if end := strings.IndexAny(name, ".|:"); end >= 0 {
					name = name[:end]
				}
				if gjson.ModifierExists(name, nil) {
					return true
				}
			}
		}
		start = text[i] == '.'
	}
	return false
}

// index reads a part as an index of an array.
func index(part string) (int, bool) {
	if part == "" || len(part) > 9 {
		return 0, false
	}
	n := 0
	for i := range len(part) {
		c := part[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
