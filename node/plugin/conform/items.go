package conform

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// at is the time of everything that is made up: what a plugin answers must not
// depend on the clock.
const at = "2026-01-02T03:04:05.678Z"

// usualDraft is what a parsing plugin is given where the author gave no sample.
const usualDraft = `{"dataType":"conform","dataSource":"epmesh-plugin-check","@timestamp":"` + at + `","tenantId":"default",` +
	`"raw":"GET /a?b=c from 203.0.113.7, größer","log":{"message":"größer","url":"https://example.com/a?b=c","count":7,"list":[1,"two",null]},` +
	`"origin":{"ip":"203.0.113.7","port":51234},"action":"get"}`

// items makes what a plugin is called with.
type items struct {
	kind   plugin.Kind
	name   string
	params map[string]*structpb.Value
	draft  string
	event  *pb.Event
	alert  *pb.Alert
	msg    *pb.Message
}

func (c *checker) newItems(kind plugin.Kind) (*items, error) {
	it := &items{kind: kind, name: c.name, draft: usualDraft, event: usualEvent(), msg: usualMessage()}
	for k, v := range c.opts.Params {
		value, err := structpb.NewValue(v)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", k, err)
		}
		if it.params == nil {
			it.params = map[string]*structpb.Value{}
		}
		it.params[k] = value
	}
	if err := it.sample(c.opts.Sample); err != nil {
		return nil, err
	}
	if it.alert == nil {
		it.alert = usualAlert(it.event)
	}
	return it, nil
}

// sample takes the author's item for the usual one.
func (it *items) sample(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	read := func(m proto.Message) error {
		if err := protojson.Unmarshal(text, m); err != nil {
			return fmt.Errorf("the sample is no %s of a %s plugin: %w", m.ProtoReflect().Descriptor().Name(), it.kind, err)
		}
		return nil
	}
	switch it.kind {
	case plugin.Parsing:
		if !gjson.ValidBytes(text) || !gjson.ParseBytes(text).IsObject() {
			return fmt.Errorf("the sample is no draft: a parsing plugin gets a JSON object with raw, dataType and log")
		}
		it.draft = string(text)
	case plugin.Analysis, plugin.Output:
		it.event = new(pb.Event)
		return read(it.event)
	case plugin.Correlation:
		it.alert = new(pb.Alert)
		return read(it.alert)
	case plugin.Notification:
		it.msg = new(pb.Message)
		return read(it.msg)
	}
	return nil
}

func usualEvent() *pb.Event {
	return &pb.Event{
		Timestamp: at, DeviceTime: at, DataType: "conform", DataSource: "epmesh-plugin-check", TenantId: "default",
		Raw: "user root failed to log in from 203.0.113.7, größer", Action: "login", ActionResult: "failure", Severity: "medium",
		Log: map[string]*structpb.Value{
			"message": structpb.NewStringValue("größer"), "failures": structpb.NewNumberValue(12), "ok": structpb.NewBoolValue(false),
		},
		Origin: &pb.Side{Ip: "203.0.113.7", Port: 51234, BytesSent: 5e9},
		Target: &pb.Side{Host: "web-1", User: "root", Port: 22},
	}
}

func usualAlert(e *pb.Event) *pb.Alert {
	e = proto.CloneOf(e)
	e.Id = "conform-evidence"
	return &pb.Alert{
		Timestamp: at, LastUpdate: at, Name: "Conformance check", TenantId: "default", DataType: "conform", DataSource: "epmesh-plugin-check",
		Category: "Test", Technique: "T0000", Description: "made up by epmesh plugin check, größer", Severity: "high",
		Impact: &pb.Impact{Confidentiality: 3, Integrity: 2, Availability: 1}, ImpactScore: 3,
		Adversary: e.GetOrigin(), Target: e.GetTarget(), Events: []*pb.Event{e}, DeduplicateBy: []string{"adversary.ip"},
	}
}

func usualMessage() *pb.Message {
	return &pb.Message{Timestamp: at, Topic: "incident", Message: `{"title":"made up by epmesh plugin check, größer","severity":"high"}`}
}

// usual is the usual item with an id of its own.
func (it *items) usual(id string) proto.Message {
	switch it.kind {
	case plugin.Parsing:
		return it.transform(withID(it.draft, id))
	case plugin.Correlation:
		a := proto.CloneOf(it.alert)
		a.Id = id
		return a
	case plugin.Notification:
		m := proto.CloneOf(it.msg)
		m.Id = id
		return m
	}
	e := proto.CloneOf(it.event)
	e.Id = id
	return e
}

func withID(draft, id string) string {
	text, err := sjson.Set(draft, "id", id)
	if err != nil {
		return draft
	}
	return text
}

// transform is a draft on its way through a dynamic step.
func (it *items) transform(draft string) *pb.Transform {
	return &pb.Transform{
		Draft: &pb.Draft{Log: draft, Step: 3, Pipeline: 2, Errors: []string{"an earlier step said this"}},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: it.name, Params: it.params}},
	}
}

// sized is the usual item, grown to size bytes in wire form.
func (it *items) sized(id string, size int) proto.Message {
	pad := func(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
	n := size
	for {
		var m proto.Message
		switch it.kind {
		case plugin.Parsing:
			text, err := sjson.Set(withID(it.draft, id), "raw", pad(n))
			if err != nil {
				text = it.draft
			}
			m = it.transform(text)
		case plugin.Correlation:
			a := it.usual(id).(*pb.Alert)
			a.Description = pad(n)
			m = a
		case plugin.Notification:
			msg := it.usual(id).(*pb.Message)
			msg.Message = `{"title":"` + pad(n) + `"}`
			m = msg
		default:
			e := it.usual(id).(*pb.Event)
			e.Raw = pad(n)
			m = e
		}
		over := proto.Size(m) - size
		if over <= 0 || n <= over {
			return m
		}
		n -= over
	}
}
