package cases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// plugins answer the dynamic steps of one run.
type plugins struct {
	stubs      map[string]config.Stub
	real       pipeline.Dynamic
	unanswered map[string]bool
}

// call is a pipeline.Dynamic.
func (p *plugins) call(ctx context.Context, t *pb.Transform) (*pb.Draft, error) {
	step := t.GetStep().GetDynamic()
	name := step.GetPlugin()
	stub, ok := p.stubs[name]
	switch {
	case !ok && p.real != nil:
		return p.real(ctx, t)
	case !ok:
		if p.unanswered == nil {
			p.unanswered = map[string]bool{}
		}
		p.unanswered[name] = true
		return t.GetDraft(), nil
	case stub.Error != "":
		return nil, errors.New(stub.Error)
	}
	d := json.NewDecoder(strings.NewReader(t.GetDraft().GetLog()))
	d.UseNumber()
	var draft map[string]any
	if err := d.Decode(&draft); err != nil {
		return nil, fmt.Errorf("read draft: %w", err)
	}
	for path, v := range stub.Set {
		put(draft, config.SplitPath(path), v)
	}
	if stub.Lookup != nil {
		if err := answer(draft, stub.Lookup, step.GetParams()); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(draft)
	if err != nil {
		return nil, fmt.Errorf("write draft: %w", err)
	}
	out := proto.Clone(t.GetDraft()).(*pb.Draft)
	out.Log = string(text)
	return out, nil
}

// answer looks up what stands at params.source, and puts what belongs to it at
// params.destination.
func answer(draft, table map[string]any, params map[string]*structpb.Value) error {
	source, destination := params["source"].GetStringValue(), params["destination"].GetStringValue()
	if source == "" || destination == "" {
		return errors.New("the case answers by a lookup, and the step's params have no source and destination")
	}
	v, ok := lookup(draft, config.SplitPath(source))
	if !ok {
		return nil
	}
	text, ok := v.(string)
	if !ok {
		text = fmt.Sprint(v)
	}
	if found, ok := table[text]; ok {
		put(draft, config.SplitPath(destination), found)
	}
	return nil
}
