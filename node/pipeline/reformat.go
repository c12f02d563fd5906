package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// reformat rewrites times by Go layouts.
type reformat struct {
	fields   []*tree.Path
	from, to string
}

func (c *compiler) reformat(p *pb.Reformat) (action, error) {
	if p.GetFunction() != "time" {
		return nil, fmt.Errorf("unknown function %q: use time", p.GetFunction())
	}
	if p.GetFromFormat() == "" || p.GetToFormat() == "" {
		return nil, errors.New("fromFormat and toFormat must be set")
	}
	fields, err := c.fields(p.GetFields())
	return &reformat{fields, p.GetFromFormat(), p.GetToFormat()}, err
}

// apply goes on with the other fields where one is no time of the format.
func (s *reformat) apply(d *draft) error {
	var failed error
	for _, path := range s.fields {
		text, ok := d.text(path)
		if !ok {
			continue
		}
		t, err := time.Parse(s.from, text)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("field %s: %.64q is no time of the format %q", path, text, s.from))
			continue
		}
		if err := d.Set(path, tree.Text(t.Format(s.to))); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
