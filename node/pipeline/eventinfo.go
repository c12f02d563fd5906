package pipeline

import (
	"fmt"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What is known of a message, worked out once from its descriptor.
type (
	messageInfo struct {
		// fields are found by both their names, as protobuf-JSON takes them.
		fields map[string]*fieldInfo
	}
	fieldInfo struct {
		name    string
		index   uint // in the message
		number  protowire.Number
		shape   fieldShape
		kind    fieldKind
		message *messageInfo // of messageKind
		entry   *fieldInfo   // of a mapping: the value
	}
	fieldShape uint8
	fieldKind  uint8
)

const (
	singular fieldShape = iota
	list
	mapping
)

const (
	textKind fieldKind = iota
	uint32Kind
	uint64Kind
	doubleKind
	messageKind
	jsonKind // google.protobuf.Value
)

var (
	eventInfo = describe((&pb.Event{}).ProtoReflect().Descriptor(), map[protoreflect.FullName]*messageInfo{})

	deviceTimeField = eventInfo.fields["deviceTime"].number
	tenantNameField = eventInfo.fields["tenantName"].number
	errorsField     = eventInfo.fields["errors"].number
)

// describe panics on what no message of the contract has: a test would meet it.
func describe(md protoreflect.MessageDescriptor, known map[protoreflect.FullName]*messageInfo) *messageInfo {
	if info := known[md.FullName()]; info != nil {
		return info
	}
	info := &messageInfo{fields: map[string]*fieldInfo{}}
	known[md.FullName()] = info
	if md.Fields().Len() > 128 {
		panic(fmt.Sprintf("%s has more than 128 fields", md.FullName()))
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		f := describeField(fd, known)
		f.index = uint(i)
		info.fields[string(fd.Name())] = f
		info.fields[fd.JSONName()] = f
	}
	return info
}

func describeField(fd protoreflect.FieldDescriptor, known map[protoreflect.FullName]*messageInfo) *fieldInfo {
	f := &fieldInfo{name: fd.JSONName(), number: fd.Number()}
	switch {
	case fd.IsMap():
		f.shape = mapping
		f.entry = describeField(fd.MapValue(), known)
		f.message = f.entry.message
		return f
	case fd.IsList():
		f.shape = list
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		f.kind = textKind
	case protoreflect.Uint32Kind:
		f.kind = uint32Kind
	case protoreflect.Uint64Kind:
		f.kind = uint64Kind
	case protoreflect.DoubleKind:
		f.kind = doubleKind
	case protoreflect.MessageKind:
		if f.kind = messageKind; fd.Message().FullName() == "google.protobuf.Value" {
			f.kind = jsonKind
		} else {
			f.message = describe(fd.Message(), known)
		}
	default:
		panic(fmt.Sprintf("%s has a type that events have not had so far", fd.FullName()))
	}
	return f
}
