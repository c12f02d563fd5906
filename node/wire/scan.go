package wire

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

// Scans read the top-level text fields of a message in wire form and nothing
// else. The texts they return are parts of the scanned bytes, not copies, and
// must not be written to. Where a field occurs more than once the last one
// wins, and a known number with another wire type is an unknown field, as
// protobuf says.
//
// A scan that fails returns, beside its error, what it read up to there: the
// id of a message that is broken further on. Nested messages are skipped by
// their length and not looked into; for Log and Message, which have none, a
// scan succeeds exactly where proto.Unmarshal does.

// ErrUTF8 is in the error of a scan that met a text field that is not UTF-8.
// The message is well-formed otherwise, and its fields were read to the end.
var ErrUTF8 = errors.New("not UTF-8")

// ErrMalformed is in the error of a scan of bytes that are no protobuf message.
var ErrMalformed = errors.New("malformed protobuf")

// LogFields are the fields of a Log. An absent one is nil.
type LogFields struct {
	ID, DataType, DataSource, Timestamp, TenantID, Raw []byte
}

// ScanLog reads a Log.
func ScanLog(b []byte) (LogFields, error) {
	var v [7][]byte
	err := scan(b, logTexts, v[:])
	return LogFields{
		ID: v[LogID], DataType: v[LogDataType], DataSource: v[LogDataSource],
		Timestamp: v[LogTimestamp], TenantID: v[LogTenantID], Raw: v[LogRaw],
	}, explain(err, (*pb.Log)(nil))
}

// EventFields are the fields of an Event that a node needs to pass it on. An
// absent one is nil.
type EventFields struct {
	ID, Timestamp, DeviceTime, DataType, DataSource, TenantID, TenantName, Raw []byte
}

// ScanEvent reads the outer fields of an Event.
func ScanEvent(b []byte) (EventFields, error) {
	var v [9][]byte
	err := scan(b, eventTexts, v[:])
	return EventFields{
		ID: v[1], Timestamp: v[2], DeviceTime: v[3], DataType: v[4],
		DataSource: v[5], TenantID: v[6], TenantName: v[7], Raw: v[8],
	}, explain(err, (*pb.Event)(nil))
}

// AlertFields are the fields of an Alert that a node needs to pass it on. An
// absent one is nil.
type AlertFields struct {
	ID, Timestamp, LastUpdate, Name, TenantID, TenantName, DataSource, DataType, Severity, ParentID []byte
}

// ScanAlert reads the outer fields of an Alert.
func ScanAlert(b []byte) (AlertFields, error) {
	var v [22][]byte
	err := scan(b, alertTexts, v[:])
	return AlertFields{
		ID: v[1], Timestamp: v[2], LastUpdate: v[3], Name: v[4], TenantID: v[5],
		TenantName: v[6], DataSource: v[7], DataType: v[8], Severity: v[15], ParentID: v[21],
	}, explain(err, (*pb.Alert)(nil))
}

// MessageFields are the fields of a Message. An absent one is nil.
type MessageFields struct {
	ID, Timestamp, Topic, Message []byte
}

// ScanMessage reads a Message.
func ScanMessage(b []byte) (MessageFields, error) {
	var v [5][]byte
	err := scan(b, messageTexts, v[:])
	return MessageFields{
		ID: v[MessageID], Timestamp: v[MessageTimestamp],
		Topic: v[MessageTopic], Message: v[MessageText],
	}, explain(err, (*pb.Message)(nil))
}

// The text fields of each message as bits, counted by field number.
var (
	logTexts     = textFields((*pb.Log)(nil))
	eventTexts   = textFields((*pb.Event)(nil))
	alertTexts   = textFields((*pb.Alert)(nil))
	messageTexts = textFields((*pb.Message)(nil))
)

// textError is a text field that is not UTF-8, until explain names it.
type textError protowire.Number

func (e textError) Error() string { return fmt.Sprintf("field %d is not UTF-8", int(e)) }

// explain gives a scan's error the names that the message's description has.
func explain(err error, m proto.Message) error {
	if err == nil {
		return nil
	}
	d := m.ProtoReflect().Descriptor()
	var num textError
	if errors.As(err, &num) {
		return fmt.Errorf("field %s of %s is %w", d.Fields().ByNumber(protowire.Number(num)).Name(), d.Name(), ErrUTF8)
	}
	return fmt.Errorf("%s: %w: %w", d.Name(), ErrMalformed, err)
}

// scan reads the fields whose numbers are set in texts. Those below len(out)
// are returned there, the others only checked.
func scan(b []byte, texts uint64, out [][]byte) error {
	var bad error
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num > protowire.MaxValidNumber {
			return fmt.Errorf("field number %d is too large", num)
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if num > 63 || texts>>num&1 == 0 {
			continue
		}
		if bad == nil && !utf8.Valid(v) {
			bad = textError(num)
		}
		if int(num) < len(out) {
			out[num] = slices.Clip(v)
		}
	}
	return bad
}
