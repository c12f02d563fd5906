package pipeline

import (
	"strings"

	"github.com/epmesh/epmesh/node/tree"
)

// Change is one field of a draft that a step made, changed or removed.
type Change struct {
	Path string
	// Old and New are the values as JSON; "" where there is none.
	Old, New string
}

// image is a draft as it was.
type image struct {
	tree *tree.Tree
	gen  uint64 // of the draft when it was taken
}

// imageLimits are beyond what a draft can have.
var imageLimits = tree.Limits{Depth: 1 << 12, Nodes: 1 << 30, Bytes: 1 << 30}

// take makes an image of a draft, unless the one there is still shows it.
func (m *image) take(t *tree.Tree) {
	if m.tree != nil && m.gen == t.Gen() {
		return
	}
	m.gen = t.Gen()
	m.tree = tree.New(imageLimits)
	// A draft's own text can be read: what is left otherwise is empty.
	_ = m.tree.Parse(string(t.Root().AppendJSON(nil)))
}

// changes are the differences between the image and the draft now.
func (m *image) changes(t *tree.Tree) []Change {
	if m.gen == t.Gen() {
		return nil
	}
	var c changes
	c.object(m.tree.Root(), t.Root())
	return c.list
}

// changes gathers differences; path are the keys above.
type changes struct {
	path []string
	list []Change
}

// object compares two objects; the old one may be nil. What is new or changed
// comes in the new one's order, then what is gone in the old one's.
func (c *changes) object(old, now *tree.Node) {
	var before []tree.Node
	if old != nil {
		before = old.List()
	}
	was := make(map[string]*tree.Node, len(before))
	for i := range before {
		was[before[i].Key()] = &before[i]
	}
	after := now.List()
	for i := range after {
		key := after[i].Key()
		c.enter(key, func() { c.value(was[key], &after[i]) })
		delete(was, key)
	}
	for i := range before {
		if key := before[i].Key(); was[key] != nil {
			c.enter(key, func() { c.add(&before[i], nil) })
		}
	}
}

// value compares what stands in one place; old may be nil.
func (c *changes) value(old, now *tree.Node) {
	mayDescend := old == nil || old.Kind() == tree.Object
	if now.Kind() == tree.Object && now.Len() > 0 && mayDescend {
		c.object(old, now)
		return
	}
	c.add(old, now)
}

func (c *changes) enter(key string, f func()) {
	c.path = append(c.path, escapeKey.Replace(key))
	f()
	c.path = c.path[:len(c.path)-1]
}

func (c *changes) add(old, now *tree.Node) {
	change := Change{Path: strings.Join(c.path, "."), Old: nodeJSON(old), New: nodeJSON(now)}
	if change.Old != change.New {
		c.list = append(c.list, change)
	}
}

// escapeKey makes a key a part of a path.
var escapeKey = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `*`, `\*`, `?`, `\?`, `#`, `\#`, `|`, `\|`)

func nodeJSON(n *tree.Node) string {
	if n == nil {
		return ""
	}
	return string(n.AppendJSON(nil))
}
