package tree

import (
	"errors"
	"fmt"
)

// ErrObject is the error for a document that is JSON, but no object.
var ErrObject = errors.New("not a JSON object")

// Parse replaces the document by what a JSON text says. Of equal keys the last
// wins. What is not UTF-8 becomes U+FFFD. On an error the document is left as
// it was.
func (t *Tree) Parse(text string) error {
	made := t.nodes
	t.nodes = 0 // the new document starts its own count
	n, err := t.ParseObject(text)
	if err != nil {
		t.nodes = made
		return err
	}
	t.gen++
	t.root = n
	return nil
}

// ParseObject reads a JSON text into an Object that is not yet part of the
// document. The nodes keep parts of the text alive.
func (t *Tree) ParseObject(text string) (Node, error) {
	n, err := t.parse(text)
	if err != nil {
		return Node{}, err
	}
	if n.kind != Object {
		return Node{}, ErrObject
	}
	return n, nil
}

func (t *Tree) parse(text string) (Node, error) {
	if len(text) > t.limits.Bytes {
		return Node{}, fmt.Errorf("%w: more than %d bytes", ErrBytes, t.limits.Bytes)
	}
	p := parser{tree: t, s: text}
	t.stack = t.stack[:0]
	n, err := p.value(0)
	if err != nil {
		t.high = max(t.high, len(t.stack)) // no gather did
		return Node{}, err
	}
	if p.space(); p.i < len(p.s) {
		return Node{}, p.fail("text after the value")
	}
	return n, nil
}

type parser struct {
	tree *Tree
	s    string
	i    int
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("not JSON: %s at byte %d", what, p.i)
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) value(depth int) (Node, error) {
	p.space()
	if p.i == len(p.s) {
		return Node{}, p.fail("unexpected end")
	}
	if p.tree.nodes++; p.tree.nodes > p.tree.limits.Nodes {
		return Node{}, p.tree.count(0)
	}
	switch c := p.s[p.i]; c {
	case '{', '[':
		if depth >= p.tree.limits.Depth {
			return Node{}, fmt.Errorf("%w: more than %d levels", ErrDepth, p.tree.limits.Depth)
		}
		p.i++
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.array(depth + 1)
	case '"':
		s, err := p.text()
		return Node{kind: String, text: s}, err
	case 't':
		return p.word("true", True)
	case 'f':
		return p.word("false", False)
	case 'n':
		return p.word("null", Null)
	default:
		return p.number()
	}
}

func (p *parser) word(word string, k Kind) (Node, error) {
	if len(p.s)-p.i < len(word) || p.s[p.i:p.i+len(word)] != word {
		return Node{}, p.fail("unknown word")
	}
	p.i += len(word)
	return Node{kind: k}, nil
}

// object reads members up to the closing brace. They gather on the parser's
// stack and are copied once their number is known.
func (p *parser) object(depth int) (Node, error) {
	t := p.tree
	base := len(t.stack)
	var seen [4]uint64 // a small Bloom filter of keys: equal ones are rare
	repeated := false
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		return Node{kind: Object, kids: t.newKids()}, nil
	}
	for {
		if p.space(); p.i == len(p.s) || p.s[p.i] != '"' {
			return Node{}, p.fail("expected a key")
		}
		key, err := p.text()
		if err != nil {
			return Node{}, err
		}
		if p.space(); p.i == len(p.s) || p.s[p.i] != ':' {
			return Node{}, p.fail("expected a colon")
		}
		p.i++
		n, err := p.value(depth)
		if err != nil {
			return Node{}, err
		}
		n.key = key
		h := keyHash(key)
		if word, bit := &seen[h>>6&3], uint64(1)<<(h&63); *word&bit != 0 {
			repeated = true
		} else {
			*word |= bit
		}
		t.stack = append(t.stack, n)
		if p.space(); p.i == len(p.s) {
			return Node{}, p.fail("unexpected end")
		}
		c := p.s[p.i]
		p.i++
		if c == '}' {
			break
		}
		if c != ',' {
			p.i--
			return Node{}, p.fail("expected a comma or a brace")
		}
	}
	members := t.stack[base:]
	if repeated {
		members = dedupe(members)
	}
	n := p.gather(Object, members, base)
	if len(n.kids.list) > indexAbove {
		n.kids.reindex()
	}
	return n, nil
}

func (p *parser) array(depth int) (Node, error) {
	t := p.tree
	base := len(t.stack)
	p.space()
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		return Node{kind: Array, kids: t.newKids()}, nil
	}
	for {
		n, err := p.value(depth)
		if err != nil {
			return Node{}, err
		}
		t.stack = append(t.stack, n)
		if p.space(); p.i == len(p.s) {
			return Node{}, p.fail("unexpected end")
		}
		c := p.s[p.i]
		p.i++
		if c == ']' {
			break
		}
		if c != ',' {
			p.i--
			return Node{}, p.fail("expected a comma or a bracket")
		}
	}
	return p.gather(Array, t.stack[base:], base), nil
}

// gather moves what was read from the stack into the arena.
func (p *parser) gather(k Kind, read []Node, base int) Node {
	t := p.tree
	t.high = max(t.high, len(t.stack))
	room := 0
	if base == 0 { // the outermost object is what steps add to
		room = 8
	}
	set := t.newKids()
	set.list = t.newList(len(read), room)
	copy(set.list, read)
	t.stack = t.stack[:base]
	return Node{kind: k, kids: set}
}
