package pipeline

import (
	"errors"
	"slices"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// remove deletes fields. raw stays, with an error.
type remove struct {
	fields []*tree.Path
	raw    bool
}

var errRaw = errors.New("raw cannot be deleted")

func (c *compiler) delete(p *pb.Delete) (action, error) {
	s := &remove{raw: slices.Contains(p.GetFields(), "raw")}
	for _, name := range p.GetFields() {
		if name == "raw" || name == "" {
			continue
		}
		path := tree.ParsePath(name)
		if path.Special() {
			return nil, errSpecial(name)
		}
		s.fields = append(s.fields, path)
	}
	if s.fields == nil && !s.raw {
		return nil, errors.New("fields is not set")
	}
	return s, nil
}

func (s *remove) apply(d *draft) error {
	for _, path := range s.fields {
		d.Delete(path)
	}
	if s.raw {
		return errRaw
	}
	return nil
}
