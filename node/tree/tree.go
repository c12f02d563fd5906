package tree

import (
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
)

// Limits bound a document. A zero field takes its default.
type Limits struct {
	Depth int // of nesting; default 64
	Nodes int // values made over the life of a document; default 100,000
	Bytes int // of a text that is parsed; default 16 MiB
}

// WithDefaults gives zero fields their defaults.
func (l Limits) WithDefaults() Limits {
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Nodes == 0 {
		l.Nodes = 100_000
	}
	if l.Bytes == 0 {
		l.Bytes = 16 << 20
	}
	return l
}

// Limit errors.
var (
	ErrDepth = errors.New("nested too deeply")
	ErrNodes = errors.New("too many values")
	ErrBytes = errors.New("text too long")
)

// Tree is one document; its root is an Object. It may be read by many
// goroutines at once while nobody edits it.
type Tree struct {
	limits  Limits
	root    Node
	gen     uint64 // changes with every edit
	nodes   int    // made so far
	arena   []Node // where parsed nodes lie
	used    int
	sets    []kids // where parsed kids lie
	setUsed int
	stack   []Node // of the parser
	high    int    // of the stack since the last Reset
}

// New makes an empty document.
func New(l Limits) *Tree {
	t := &Tree{limits: l.WithDefaults()}
	t.Reset()
	return t
}

// keep is the number of nodes whose memory a Reset keeps for the next use.
const keep = 4096

// Reset empties the document and keeps its memory for the next one. No Node,
// Value or Container taken from it may be used any more.
func (t *Tree) Reset() {
	if len(t.arena) > keep {
		t.arena, t.sets = nil, nil
	}
	if cap(t.stack) > keep {
		t.stack = nil
	}
	clear(t.arena[:min(t.used, len(t.arena))])
	clear(t.sets[:min(t.setUsed, len(t.sets))])
	clear(t.stack[:min(t.high, cap(t.stack))])
	t.stack, t.high = t.stack[:0], 0
	t.used, t.setUsed, t.nodes = 0, 0, 0
	t.root = t.newObject(16)
	t.gen++
}

// Gen changes with every edit: what was read under one Gen still holds under
// the same.
func (t *Tree) Gen() uint64 { return t.gen }

// Root is the document's Object.
func (t *Tree) Root() *Node { return &t.root }

// Get finds the node at a path, nil if there is none. Paths with gjson's
// extensions find nothing here: Lookup reads them.
func (t *Tree) Get(p *Path) *Node {
	if p.parts == nil {
		return nil
	}
	return t.root.get(p.parts)
}

func (n *Node) get(parts []string) *Node {
	for _, part := range parts {
		switch n.kind {
		case Object:
			if n = n.member(part); n == nil {
				return nil
			}
		case Array:
			i, ok := index(part)
			if !ok || i >= len(n.kids.list) {
				return nil
			}
			n = &n.kids.list[i]
		default:
			return nil
		}
	}
	return n
}

// Lookup is the value at a path. It makes a Tree what expressions are
// evaluated over.
func (t *Tree) Lookup(p *Path) Value {
	if p.special {
		return LookupSpecial(&t.root, p)
	}
	return t.Get(p).Value()
}

// Field is the value of a top-level field.
func (t *Tree) Field(name string) Value { return t.root.Member(name) }

// LookupSpecial reads a path that uses gjson's extensions, through gjson itself
// and the document's text.
func LookupSpecial(c Container, p *Path) Value {
	r := gjson.GetBytes(c.AppendJSON(nil), p.text)
	switch r.Type {
	case gjson.String:
		return Value{Kind: String, Text: r.Str}
	case gjson.Number:
		return Value{Kind: Number, Num: r.Num, Text: r.Raw}
	case gjson.True:
		return Value{Kind: True}
	case gjson.False:
		return Value{Kind: False}
	case gjson.JSON:
		t := New(Limits{Depth: 1 << 10, Nodes: 1 << 20})
		n, err := t.parse(r.Raw)
		if err != nil {
			return Value{}
		}
		return n.Value()
	}
	if r.Exists() {
		return Value{Kind: Null}
	}
	return Value{}
}

// newKids carves a kids from the arena.
func (t *Tree) newKids() *kids {
	if t.setUsed == len(t.sets) {
		t.sets, t.setUsed = make([]kids, max(16, min(2*len(t.sets), 1024))), 0
	}
	k := &t.sets[t.setUsed]
	t.setUsed++
	return k
}

// newObject makes an empty object with room for a number of members.
func (t *Tree) newObject(room int) Node {
	k := t.newKids()
	k.list = t.newList(0, room)
	return Node{kind: Object, kids: k}
}

// Strings makes an Array of texts.
func (t *Tree) Strings(texts ...string) (Node, error) {
	if err := t.count(len(texts)); err != nil {
		return Node{}, err
	}
	k := t.newKids()
	k.list = t.newList(len(texts), 0)
	for i, text := range texts {
		k.list[i] = Text(text)
	}
	return Node{kind: Array, kids: k}, nil
}

// newList carves a list for n nodes, with room for more, from the arena.
func (t *Tree) newList(n, room int) []Node {
	room += n
	if room > len(t.arena)-t.used {
		t.arena, t.used = make([]Node, max(room, 64, min(2*len(t.arena), 4096))), 0
	}
	list := t.arena[t.used : t.used+n : t.used+room]
	t.used += room
	return list
}

func (t *Tree) count(n int) error {
	if t.nodes += n; t.nodes > t.limits.Nodes {
		return fmt.Errorf("%w: more than %d", ErrNodes, t.limits.Nodes)
	}
	return nil
}
