package pipeline

import (
	"fmt"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// jsonStep puts the members of a JSON object under log.
type jsonStep struct {
	options Options
	source  *tree.Path
}

func (c *compiler) json(p *pb.Json) action {
	return &jsonStep{c.options, source(p.GetSource())}
}

func (s *jsonStep) apply(d *draft) error {
	text, ok := d.text(s.source)
	if !ok {
		return missing(s.source)
	}
	object, err := d.ParseObject(text)
	if err != nil {
		return fmt.Errorf("source %s: %w", s.source, err)
	}
	if s.plain(object) && d.Adopt("log", object) {
		return nil
	}
	members := object.List()
	for i := range members {
		m := members[i]
		if err := d.setLog(s.options, m.Key(), m); err != nil {
			return err
		}
	}
	return nil
}

// plain reports whether all keys can stay as they are.
func (s *jsonStep) plain(object tree.Node) bool {
	members := object.List()
	if len(members) == 0 {
		return false
	}
	for i := range members {
		key := members[i].Key()
		if key == "" {
			return false
		}
		for j := range len(key) {
			if key[j] == '.' || !s.options.nameByte(key[j]) {
				return false
			}
		}
	}
	return true
}

func missing(source *tree.Path) error { return fmt.Errorf("source %s is missing", source) }
