package replay

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/epmesh/epmesh/node/offline"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protojson"
)

// Decode reads an Event in protobuf-JSON. Keys that an Event does not have are
// passed over, and told.
func Decode(line []byte) (e *pb.Event, unknown bool, err error) {
	e = new(pb.Event)
	if err = protojson.Unmarshal(line, e); err == nil {
		return e, false, nil
	}
	if !utf8.Valid(line) {
		return nil, false, errors.New("not an event: the line is not UTF-8")
	}
	e = new(pb.Event)
	if lax := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, e); lax != nil {
		return nil, false, fmt.Errorf("not an event: %s", offline.Plain(lax))
	}
	return e, true, nil
}
