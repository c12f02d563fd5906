package wire

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Numbers of the fields that a node completes.
const (
	LogID         protowire.Number = 1
	LogDataType   protowire.Number = 2
	LogDataSource protowire.Number = 3
	LogTimestamp  protowire.Number = 4
	LogTenantID   protowire.Number = 5
	LogRaw        protowire.Number = 6

	EventID         protowire.Number = 1
	EventTimestamp  protowire.Number = 2
	EventTenantID   protowire.Number = 6
	EventTenantName protowire.Number = 7

	AlertID         protowire.Number = 1
	AlertTimestamp  protowire.Number = 2
	AlertTenantID   protowire.Number = 5
	AlertTenantName protowire.Number = 6
	AlertDataSource protowire.Number = 7
	AlertDataType   protowire.Number = 8

	MessageID        protowire.Number = 1
	MessageTimestamp protowire.Number = 2
	MessageTopic     protowire.Number = 3
	MessageText      protowire.Number = 4

	AckLastID protowire.Number = 1
)

// Text is a text field with its value.
type Text struct {
	Number protowire.Number
	Value  string
}

// AppendTexts completes a message in wire form: it appends the fields and
// leaves every byte before them as it was, unknown fields included. Protobuf
// lets the last occurrence of a field win, so a field that was there already is
// overridden. b must be a well-formed message; values must be UTF-8.
//
// Like append, it may or may not reuse the memory of b.
func AppendTexts(b []byte, fields ...Text) []byte {
	size := 0
	for _, f := range fields {
		size += protowire.SizeTag(f.Number) + protowire.SizeBytes(len(f.Value))
	}
	b = slices.Grow(b, size)
	for _, f := range fields {
		b = protowire.AppendTag(b, f.Number, protowire.BytesType)
		b = protowire.AppendString(b, f.Value)
	}
	return b
}

// textFields are the numbers of a message's text fields, repeated ones among
// them, as bits.
func textFields(m proto.Message) uint64 {
	var bits uint64
	for fields, i := m.ProtoReflect().Descriptor().Fields(), 0; i < fields.Len(); i++ {
		if f := fields.Get(i); f.Kind() == protoreflect.StringKind {
			bits |= 1 << f.Number()
		}
	}
	return bits
}
