package pipeline

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// add sets a field to a constant text.
type add struct {
	path  *tree.Path
	value tree.Node
}

func (c *compiler) add(p *pb.Add) (action, error) {
	if p.GetFunction() != "string" {
		return nil, fmt.Errorf("unknown function %q: use string", p.GetFunction())
	}
	key, ok := p.GetParams()["key"].GetKind().(*structpb.Value_StringValue)
	if !ok {
		return nil, errors.New("params.key must be a string")
	}
	path, err := c.target(key.StringValue)
	if err != nil {
		return nil, fmt.Errorf("params.key: %w", err)
	}
	value, ok := p.GetParams()["value"]
	if !ok {
		return nil, errors.New("params.value is not set")
	}
	text, err := textOf(value)
	if err != nil {
		return nil, fmt.Errorf("params.value: %w", err)
	}
	return &add{path, tree.Text(text)}, nil
}

// textOf is the text of a configured value.
func textOf(v *structpb.Value) (string, error) {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return kind.StringValue, nil
	case *structpb.Value_NumberValue:
		return strconv.FormatFloat(kind.NumberValue, 'f', -1, 64), nil
	case *structpb.Value_BoolValue:
		return strconv.FormatBool(kind.BoolValue), nil
	case *structpb.Value_NullValue:
		return "", nil
	}
	b, err := protojson.Marshal(v)
	return string(b), err
}

func (s *add) apply(d *draft) error { return d.Set(s.path, s.value) }
