package pipeline

import (
	"fmt"
	"math"
	"strconv"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// cast gives fields another type. What cannot be converted becomes the type's
// zero value.
type cast struct {
	fields []*tree.Path
	to     caster
}

type caster func(d *draft, v tree.Value) (tree.Node, error)

var casts = map[string]caster{
	"int":      func(_ *draft, v tree.Value) (tree.Node, error) { return tree.Int(castInt(v)), nil },
	"float":    func(_ *draft, v tree.Value) (tree.Node, error) { return tree.Float(castFloat(v)), nil },
	"string":   func(_ *draft, v tree.Value) (tree.Node, error) { return tree.Text(v.String()), nil },
	"bool":     func(_ *draft, v tree.Value) (tree.Node, error) { return tree.Bool(castBool(v)), nil },
	"[]string": castStrings,
}

func (c *compiler) cast(p *pb.Cast) (action, error) {
	to, ok := casts[p.GetTo()]
	if !ok {
		return nil, fmt.Errorf("cannot cast to %q, only to int, float, string, bool, []string", p.GetTo())
	}
	fields, err := c.fields(p.GetFields())
	return &cast{fields, to}, err
}

func (s *cast) apply(d *draft) error {
	for _, path := range s.fields {
		v := d.Tree.Lookup(path)
		if !v.Exists() {
			continue
		}
		node, err := s.to(d, v)
		if err == nil {
			err = d.Set(path, node)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", path, err)
		}
	}
	return nil
}

// castInt truncates a number; a text must be a whole number.
func castInt(v tree.Value) int64 {
	text := v.Text
	switch v.Kind {
	case tree.Number:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		if math.Abs(v.Num) < 1<<63 {
			return int64(v.Num)
		}
	case tree.String:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
	}
	return 0
}

func castFloat(v tree.Value) float64 {
	switch v.Kind {
	case tree.Number:
		return v.Num
	case tree.String:
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f
		}
	}
	return 0
}

func castBool(v tree.Value) bool {
	switch v.Kind {
	case tree.True:
		return true
	case tree.Number:
		return v.Num != 0
	case tree.String:
		b, _ := strconv.ParseBool(v.Text)
		return b
	}
	return false
}

// castStrings makes a list of texts: of an array's values, or of the one value.
func castStrings(d *draft, v tree.Value) (tree.Node, error) {
	if v.Kind != tree.Array {
		return d.Strings(v.String())
	}
	texts := make([]string, 0, v.Sub.Len())
	v.Sub.Each(func(_ string, item tree.Value) bool {
		texts = append(texts, item.String())
		return true
	})
	return d.Strings(texts...)
}
