package pipeline

import (
	"errors"

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
	s := &remove{}
	for _, name := range p.GetFields() {
		if name == "" {
			continue
		}
		path, err := editable(name)
		switch {
		case err != nil:
			return nil, err
		case path.Top() == "raw" && len(path.Parts()) == 1:
			s.raw = true
		default:
			s.fields = append(s.fields, path)
		}
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
