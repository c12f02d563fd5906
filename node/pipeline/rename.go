package pipeline

import (
	"errors"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// rename moves fields to another name. Of several that exist the last wins;
// raw and @timestamp are copied and stay.
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
		path := tree.ParsePath(name)
		if path.Special() {
			return nil, errSpecial(name)
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
		v := d.Lookup(from)
		if !v.Exists() {
			continue
		}
		node := tree.Of(v)
		if v.Kind == tree.Null || v.Kind >= tree.Array {
			node = tree.Text(v.String())
		}
		var old tree.Node
		moved := false
		if !reserved(from.String()) {
			old, moved = d.Take(from)
		}
		if err := d.Set(s.to, node); err != nil {
			if moved {
				_ = d.Set(from, old)
			}
			return err
		}
	}
	return nil
}
