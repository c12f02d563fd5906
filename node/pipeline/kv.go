package pipeline

import (
	"errors"
	"strings"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// kv puts key=value pairs under log, as strings.
type kv struct {
	options                Options
	source                 *tree.Path
	fieldSplit, valueSplit string
}

func (c *compiler) kv(p *pb.Kv) (action, error) {
	if p.GetFieldSplit() == "" || p.GetValueSplit() == "" {
		return nil, errors.New("fieldSplit and valueSplit must be set")
	}
	return &kv{c.options, source(p.GetSource()), p.GetFieldSplit(), p.GetValueSplit()}, nil
}

func (s *kv) apply(d *draft) error {
	text, ok := d.text(s.source)
	if !ok {
		return missing(s.source)
	}
	for piece := range strings.SplitSeq(strings.TrimSpace(text), s.fieldSplit) {
		key, value, ok := strings.Cut(piece, s.valueSplit)
		if !ok {
			continue
		}
		if err := d.setLog(s.options, key, tree.Text(strings.TrimSpace(value))); err != nil {
			return err
		}
	}
	return nil
}
