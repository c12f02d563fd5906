package pipeline

import (
	"errors"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// rename moves fields to another name. Of several that exist the last wins;
// raw and @timestamp are copied and stay. A source is deleted after it was
// written, so that a field renamed to itself, or to a name below its own, is
// gone: the reference loses it too.
type rename struct {
	from []*tree.Path
	to   *tree.Path
}

func (c *compiler) rename(p *pb.Rename) (action, error) {
	to, err := c.target(p.GetTo())
	if err != nil {
		return nil, err
	}
	s := &rename{to: to}
	for _, name := range p.GetFrom() {
		if name == "" {
			continue
		}
		path, err := editable(name)
		if err != nil {
			return nil, err
		}
		s.from = append(s.from, path)
	}
	if s.from == nil {
		return nil, errors.New("from is not set")
	}
	return s, nil
}

func (s *rename) apply(d *draft) error {
	for _, from := range s.from {
		v := d.Tree.Lookup(from)
		if !v.Exists() {
			continue
		}
		node := tree.Of(v)
		if v.Kind == tree.Null || v.Kind >= tree.Array {
			node = tree.Text(v.String())
		}
		if err := d.Set(s.to, node); err != nil {
			return err
		}
		if !reserved(from.Top()) {
			d.Delete(from)
		}
	}
	return nil
}
