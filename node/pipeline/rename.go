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
		if name != "" {
			s.from = append(s.from, tree.ParsePath(name))
		}
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
		kept := d.Get(from)
		if !reserved(from.String()) {
			d.Delete(from)
		}
		if err := d.Set(s.to, node); err != nil {
			if kept != nil && !reserved(from.String()) {
				_ = d.Set(from, node) // as it was, but for an object's type
			}
			return err
		}
	}
	return nil
}
