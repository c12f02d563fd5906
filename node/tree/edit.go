package tree

import (
	"errors"
	"fmt"
)

var errEmptyPart = errors.New("path with an empty part")

// maxGap bounds how far beyond its end an array may be set.
const maxGap = 1024

// Set puts a value at a path and makes the objects on the way. A scalar on the
// way gives way to an object (or to an array, where the next part is a number);
// an array takes only numbers. The value becomes part of the tree and must have
// been made by it or be a scalar. With an error, objects on the way may have been
// made, and nothing else has changed.
func (t *Tree) Set(p *Path, v Node) error {
	if p.special || p.parts == nil {
		return fmt.Errorf("cannot write to path %q", p.text)
	}
	return t.SetParts(p.parts, v)
}

// SetParts is Set for a path in parts.
func (t *Tree) SetParts(parts []string, v Node) error {
	if len(parts)+v.depth(t.limits.Depth) > t.limits.Depth {
		return ErrDepth
	}
	for _, part := range parts {
		if part == "" {
			return errEmptyPart
		}
	}
	t.gen++
	n := &t.root
	for i, part := range parts {
		kid, err := t.enter(n, part)
		if err != nil {
			return err
		}
		if i == len(parts)-1 {
			v.key = kid.key
			*kid = v
			return nil
		}
		if kid.kind < Array {
			made := t.newObject(8)
			if _, numeric := index(parts[i+1]); numeric {
				made.kind = Array
			}
			made.key = kid.key
			*kid = made
		}
		n = kid
	}
	return nil
}

// SetField puts a scalar or an empty object into a top-level field, whatever its name.
func (t *Tree) SetField(name string, v Node) {
	t.gen++
	v.key = name
	if kid := t.root.member(name); kid != nil {
		*kid = v
		return
	}
	t.nodes++
	t.root.kids.add(v)
}

// enter finds or makes the place for a part below a container.
func (t *Tree) enter(n *Node, part string) (*Node, error) {
	if n.kind == Object {
		if kid := n.member(part); kid != nil {
			return kid, nil
		}
		if err := t.count(1); err != nil {
			return nil, err
		}
		return n.kids.add(Node{key: part, kind: Null}), nil
	}
	i, ok := index(part)
	if !ok {
		return nil, fmt.Errorf("cannot set key %q of an array", part)
	}
	gap := i - len(n.kids.list) + 1
	if gap <= 0 {
		return &n.kids.list[i], nil
	}
	if gap > maxGap {
		return nil, fmt.Errorf("index %d is too far behind the end of the array", i)
	}
	if err := t.count(gap); err != nil {
		return nil, err
	}
	for range gap {
		n.kids.list = append(n.kids.list, Node{kind: Null})
	}
	return &n.kids.list[i], nil
}

// depth is how deeply a node nests, counted up to a bound.
func (n *Node) depth(bound int) int {
	if n.kind < Array || bound < 0 {
		return 0
	}
	deepest := 0
	for i := range n.kids.list {
		deepest = max(deepest, n.kids.list[i].depth(bound-1))
	}
	return deepest + 1
}

// Delete removes what stands at a path and reports whether there was anything.
func (t *Tree) Delete(p *Path) bool {
	if p.parts == nil {
		return false
	}
	last := len(p.parts) - 1
	parent := t.root.get(p.parts[:last])
	if parent == nil || parent.kind < Array {
		return false
	}
	i := -1
	if parent.kind == Object {
		i = parent.kids.find(p.parts[last])
	} else if at, ok := index(p.parts[last]); ok && at < len(parent.kids.list) {
		i = at
	}
	if i < 0 {
		return false
	}
	t.gen++
	parent.kids.remove(i)
	return true
}

// Adopt puts the members of an object that this tree parsed under the key of
// the root, where that is missing, no object, or an empty one. It reports
// whether it did.
func (t *Tree) Adopt(key string, object Node) bool {
	kid := t.root.member(key)
	if object.kind != Object || kid != nil && kid.kind == Object && kid.Len() > 0 {
		return false
	}
	if object.depth(t.limits.Depth) >= t.limits.Depth {
		return false
	}
	t.gen++
	object.key = key
	if kid != nil {
		*kid = object
	} else {
		t.nodes++
		t.root.kids.add(object)
	}
	return true
}
