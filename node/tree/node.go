package tree

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Node is one value of a Tree, with its key where its parent is an Object. A
// *Node is valid until its Tree is edited.
type Node struct {
	key  string
	text string  // String: the text; Number: the literal
	num  float64 // Number
	kids *kids   // Array, Object
	kind Kind
}

// kids are the values of an Array or Object. They are referred to by pointer,
// so that an Object keeps its place while it grows.
type kids struct {
	list []Node
	// index finds keys in an Object of more than indexAbove; nil below, and in
	// an Array.
	index map[string]int32
}

// indexAbove is the size above which an Object gets an index: below it a walk
// over the keys is faster than hashing.
const indexAbove = 48

// Text, Bool, Int and Float make nodes of scalars. Text replaces what is not
// UTF-8 by U+FFFD.
func Text(s string) Node {
	if !utf8.ValidString(s) { // the quicker question
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return Node{kind: String, text: s}
}

// Bool makes a True or False.
func Bool(b bool) Node {
	if b {
		return Node{kind: True}
	}
	return Node{kind: False}
}

// Int makes a Number.
func Int(i int64) Node {
	return Node{kind: Number, num: float64(i), text: strconv.FormatInt(i, 10)}
}

// Float makes a Number; what JSON has no number for becomes null.
func Float(f float64) Node {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return Node{kind: Null}
	}
	return Node{kind: Number, num: f, text: strconv.FormatFloat(f, 'f', -1, 64)}
}

// Of makes a node of a scalar value; of an Array or Object it makes null.
func Of(v Value) Node {
	switch v.Kind {
	case Missing, Array, Object:
		return Node{kind: Null}
	case Number:
		if v.Text == "" {
			return Float(v.Num)
		}
	}
	return Node{kind: v.Kind, num: v.Num, text: v.Text}
}

// Key is the node's key in its Object, "" elsewhere.
func (n *Node) Key() string { return n.key }

// Kind is what the node is; a nil node is Missing.
func (n *Node) Kind() Kind {
	if n == nil {
		return Missing
	}
	return n.kind
}

// Text is the text of a String and the literal of a Number.
func (n *Node) Text() string { return n.text }

// Num is the number of a Number.
func (n *Node) Num() float64 { return n.num }

// List is what an Array or Object holds, in order. It is not to be changed.
func (n *Node) List() []Node {
	if n.kids == nil {
		return nil
	}
	return n.kids.list
}

// Value is the node as a Value; Missing for nil.
func (n *Node) Value() Value {
	if n == nil {
		return Value{}
	}
	v := Value{Kind: n.kind, Num: n.num, Text: n.text}
	if n.kind >= Array {
		v.Sub = n
	}
	return v
}

// String is the node's text as Value.String gives it.
func (n *Node) String() string { return n.Value().String() }

// Len, Member, Index, Each and AppendJSON make a Node a Container.
func (n *Node) Len() int { return len(n.List()) }

// Member is the value under key.
func (n *Node) Member(key string) Value { return n.member(key).Value() }

// Index is the i-th value of an Array.
func (n *Node) Index(i int) Value {
	if n.kind != Array || i < 0 || i >= n.Len() {
		return Value{}
	}
	return n.kids.list[i].Value()
}

// Each calls yield for each value in order.
func (n *Node) Each(yield func(key string, v Value) bool) {
	list := n.List()
	for i := range list {
		if !yield(list[i].key, list[i].Value()) {
			return
		}
	}
}

// member finds the node under key in an Object; nil if there is none.
func (n *Node) member(key string) *Node {
	if n.kind != Object {
		return nil
	}
	if i := n.kids.find(key); i >= 0 {
		return &n.kids.list[i]
	}
	return nil
}

func (k *kids) find(key string) int {
	if len(k.list) <= indexAbove {
		for i := range k.list {
			if k.list[i].key == key {
				return i
			}
		}
		return -1
	}
	if i, ok := k.index[key]; ok {
		return int(i)
	}
	return -1
}

// reindex makes the index anew. An index is kept by whoever edits, never built
// by a reader, so that many can read a tree at once.
func (k *kids) reindex() {
	if len(k.list) <= indexAbove {
		k.index = nil
		return
	}
	k.index = make(map[string]int32, 2*len(k.list))
	for i := range k.list {
		k.index[k.list[i].key] = int32(i)
	}
}

func (k *kids) add(n Node) *Node {
	k.list = append(k.list, n)
	switch {
	case k.index != nil:
		k.index[n.key] = int32(len(k.list) - 1)
	case len(k.list) > indexAbove:
		k.reindex()
	}
	return &k.list[len(k.list)-1]
}

// remove keeps the order, but in an Object with an index, where the last value
// takes the place of the removed one: shifting would cost a pass over the index.
func (k *kids) remove(i int) {
	last := len(k.list) - 1
	if k.index == nil {
		copy(k.list[i:], k.list[i+1:])
	} else {
		delete(k.index, k.list[i].key)
		if i != last {
			k.list[i] = k.list[last]
			k.index[k.list[i].key] = int32(i)
		}
		if last <= indexAbove {
			k.index = nil
		}
	}
	k.list[last] = Node{}
	k.list = k.list[:last]
}
