package cases

import (
	"context"
	"errors"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// outcome is what came of a log.
type outcome struct {
	// event is the event as plain values by their JSON names, without errors;
	// nil where there is none. Its envelope are the fields that are what the
	// log came with.
	event    map[string]any
	envelope map[string]bool
	errors   []string
	dropped  bool
	dropper  string // where the step stands that did it; "" if nobody asked
	dead     string // why there is no event
	late     string // the time that was not enough
	vanished []string

	ran     bool // rules did
	alerts  []alert
	ids     map[string]string        // of rules, to their names
	unknown func(rule string) string // why a rule may have made no alert

	unanswered map[string]bool // plugins that nobody answered for
}

// word says in a word what came.
func (o *outcome) word() string {
	switch {
	case o.late != "":
		return "nothing in time"
	case o.dropped:
		return "dropped"
	case o.dead != "":
		return "dead"
	}
	if o.event == nil && o.ran {
		return "events"
	}
	return "an event"
}

func newOutcome(result pipeline.Result, err error, log *pb.Log, set *config.Set) outcome {
	o := outcome{dropped: result.Dropped, vanished: result.UnknownFields}
	event := &pb.Event{}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		o.late = "the time that it has"
		return o
	case err == nil && !o.dropped:
		err = proto.Unmarshal(result.Event, event)
	}
	if err != nil {
		o.dead = strings.TrimPrefix(err.Error(), pipeline.ErrDraft.Error()+": ")
	}
	if err != nil || o.dropped {
		return o
	}
	o.errors, event.Errors = event.Errors, nil
	o.event = plain(event.ProtoReflect())
	came := map[string]string{
		"id": log.GetId(), "@timestamp": log.GetTimestamp(), "deviceTime": log.GetTimestamp(), "dataType": log.GetDataType(),
		"dataSource": log.GetDataSource(), "tenantId": log.GetTenantId(), "raw": log.GetRaw(),
	}
	if t, ok := set.Tenant(event.GetTenantId()); ok {
		came["tenantName"] = t.GetName()
	}
	o.envelope = map[string]bool{}
	for name, text := range came {
		o.envelope[name] = o.event[name] == text
	}
	return o
}

// plain is a message as values that cases can be compared with; all its fields
// are there that it would show as JSON.
func plain(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList():
			list := v.List()
			items := make([]any, list.Len())
			for i := range items {
				items[i] = single(fd, list.Get(i))
			}
			out[fd.JSONName()] = items
		case fd.IsMap():
			entries := map[string]any{}
			v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
				entries[key.String()] = single(fd.MapValue(), v)
				return true
			})
			out[fd.JSONName()] = entries
		default:
			out[fd.JSONName()] = single(fd, v)
		}
		return true
	})
	return out
}

func single(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		if value, ok := v.Message().Interface().(*structpb.Value); ok {
			return value.AsInterface()
		}
		return plain(v.Message())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return v.Uint()
	}
	return v.Interface()
}
