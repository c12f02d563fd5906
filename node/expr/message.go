package expr

import (
	"math"
	"strconv"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// FromEvent makes a document of an event: what its protobuf-JSON form would
// say, read from the message itself. The event must not change meanwhile.
func FromEvent(e *pb.Event) Doc { return eventDoc{messageDoc{e.ProtoReflect()}, e} }

// FromAlert makes a document of an alert as FromEvent does of an event.
func FromAlert(a *pb.Alert) Doc { return messageDoc{a.ProtoReflect()} }

// eventDoc reads the event's log, where most conditions look, without
// reflection.
type eventDoc struct {
	messageDoc
	event *pb.Event
}

func (d eventDoc) Lookup(p *tree.Path) tree.Value {
	if parts := p.Parts(); len(parts) > 1 && parts[0] == "log" {
		return jsonValue(d.event.GetLog()[parts[1]]).Descend(parts[2:])
	}
	return d.messageDoc.Lookup(p)
}

// messageDoc is any message as a document.
type messageDoc struct{ m protoreflect.Message }

func (d messageDoc) Field(name string) tree.Value { return message(d).Member(name) }

func (d messageDoc) Lookup(p *tree.Path) tree.Value {
	if p.Special() {
		return tree.LookupSpecial(message(d), p)
	}
	m, parts := d.m, p.Parts()
	for i, part := range parts {
		fd := m.Descriptor().Fields().ByJSONName(part)
		if fd == nil || !m.Has(fd) {
			return tree.Value{}
		}
		v := m.Get(fd)
		if fd.Message() == nil || fd.IsMap() || fd.IsList() || i == len(parts)-1 || isValue(fd.Message()) {
			return fieldValue(fd, v).Descend(parts[i+1:])
		}
		m = v.Message()
	}
	return tree.Value{}
}

// message is a message as an Object, under its fields' JSON names. As in
// protobuf-JSON, a field that has its zero value is not there.
type message struct{ m protoreflect.Message }

func (c message) Len() int {
	n := 0
	c.m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { n++; return true })
	return n
}

func (c message) Member(key string) tree.Value {
	fd := c.m.Descriptor().Fields().ByJSONName(key)
	if fd == nil || !c.m.Has(fd) {
		return tree.Value{}
	}
	return fieldValue(fd, c.m.Get(fd))
}

func (c message) Index(int) tree.Value { return tree.Value{} }

func (c message) Each(yield func(string, tree.Value) bool) {
	c.m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		return yield(fd.JSONName(), fieldValue(fd, v))
	})
}

func (c message) AppendJSON(b []byte) []byte { return tree.AppendContainer(b, tree.Object, c) }

// mapping is a map field as an Object.
type mapping struct {
	fd protoreflect.FieldDescriptor
	m  protoreflect.Map
}

func (c mapping) Len() int { return c.m.Len() }

func (c mapping) Member(key string) tree.Value {
	v := c.m.Get(protoreflect.ValueOfString(key).MapKey())
	if !v.IsValid() {
		return tree.Value{}
	}
	return scalar(c.fd.MapValue(), v)
}

func (c mapping) Index(int) tree.Value { return tree.Value{} }

func (c mapping) Each(yield func(string, tree.Value) bool) {
	c.m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		return yield(k.String(), scalar(c.fd.MapValue(), v))
	})
}

func (c mapping) AppendJSON(b []byte) []byte { return tree.AppendContainer(b, tree.Object, c) }

// repeated is a repeated field as an Array.
type repeated struct {
	fd protoreflect.FieldDescriptor
	l  protoreflect.List
}

func (c repeated) Len() int { return c.l.Len() }

func (c repeated) Member(string) tree.Value { return tree.Value{} }

func (c repeated) Index(i int) tree.Value {
	if i < 0 || i >= c.l.Len() {
		return tree.Value{}
	}
	return scalar(c.fd, c.l.Get(i))
}

func (c repeated) Each(yield func(string, tree.Value) bool) {
	for i := range c.l.Len() {
		if !yield("", scalar(c.fd, c.l.Get(i))) {
			return
		}
	}
}

func (c repeated) AppendJSON(b []byte) []byte { return tree.AppendContainer(b, tree.Array, c) }

func fieldValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) tree.Value {
	switch {
	case fd.IsMap():
		return tree.Value{Kind: tree.Object, Sub: mapping{fd, v.Map()}}
	case fd.IsList():
		return tree.Value{Kind: tree.Array, Sub: repeated{fd, v.List()}}
	}
	return scalar(fd, v)
}

// scalar is one value of a field. As in protobuf-JSON, 64-bit integers are
// strings.
func scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) tree.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return boolValue(v.Bool())
	case protoreflect.StringKind:
		return tree.Value{Kind: tree.String, Text: v.String()}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return numberValue(v.Float())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return numberValue(float64(v.Uint()))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return numberValue(float64(v.Int()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return tree.Value{Kind: tree.String, Text: strconv.FormatUint(v.Uint(), 10)}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return tree.Value{Kind: tree.String, Text: strconv.FormatInt(v.Int(), 10)}
	case protoreflect.MessageKind:
		if value, ok := v.Message().Interface().(*structpb.Value); ok {
			return jsonValue(value)
		}
		return tree.Value{Kind: tree.Object, Sub: message{v.Message()}}
	}
	return tree.Value{}
}

func boolValue(b bool) tree.Value {
	if b {
		return tree.Value{Kind: tree.True}
	}
	return tree.Value{Kind: tree.False}
}

func numberValue(f float64) tree.Value {
	switch {
	case math.IsNaN(f):
		return tree.Value{Kind: tree.String, Text: "NaN"}
	case math.IsInf(f, 1):
		return tree.Value{Kind: tree.String, Text: "Infinity"}
	case math.IsInf(f, -1):
		return tree.Value{Kind: tree.String, Text: "-Infinity"}
	}
	return tree.Value{Kind: tree.Number, Num: f}
}

func isValue(md protoreflect.MessageDescriptor) bool {
	return md.FullName() == "google.protobuf.Value"
}

// jsonValue is a google.protobuf.Value.
func jsonValue(v *structpb.Value) tree.Value {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_NullValue:
		return tree.Value{Kind: tree.Null}
	case *structpb.Value_BoolValue:
		return boolValue(kind.BoolValue)
	case *structpb.Value_NumberValue:
		return numberValue(kind.NumberValue)
	case *structpb.Value_StringValue:
		return tree.Value{Kind: tree.String, Text: kind.StringValue}
	case *structpb.Value_StructValue:
		return tree.Value{Kind: tree.Object, Sub: (*structure)(kind.StructValue)}
	case *structpb.Value_ListValue:
		return tree.Value{Kind: tree.Array, Sub: (*items)(kind.ListValue)}
	}
	return tree.Value{}
}

// structure and items are a google.protobuf.Struct and ListValue.
type (
	structure structpb.Struct
	items     structpb.ListValue
)

func (c *structure) fields() map[string]*structpb.Value { return (*structpb.Struct)(c).GetFields() }
func (c *structure) Len() int                           { return len(c.fields()) }
func (c *structure) Member(key string) tree.Value       { return jsonValue(c.fields()[key]) }
func (c *structure) Index(int) tree.Value               { return tree.Value{} }

func (c *structure) Each(yield func(string, tree.Value) bool) {
	for key, v := range c.fields() {
		if !yield(key, jsonValue(v)) {
			return
		}
	}
}

func (c *structure) AppendJSON(b []byte) []byte { return tree.AppendContainer(b, tree.Object, c) }

func (c *items) values() []*structpb.Value { return (*structpb.ListValue)(c).GetValues() }
func (c *items) Len() int                  { return len(c.values()) }
func (c *items) Member(string) tree.Value  { return tree.Value{} }

func (c *items) Index(i int) tree.Value {
	if values := c.values(); 0 <= i && i < len(values) {
		return jsonValue(values[i])
	}
	return tree.Value{}
}

func (c *items) Each(yield func(string, tree.Value) bool) {
	for _, v := range c.values() {
		if !yield("", jsonValue(v)) {
			return
		}
	}
}

func (c *items) AppendJSON(b []byte) []byte { return tree.AppendContainer(b, tree.Array, c) }
