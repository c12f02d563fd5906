package pipeline

import (
	"errors"
	"math"
	"strconv"
	"sync"

	"github.com/epmesh/epmesh/node/tree"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// appendValue appends a google.protobuf.Value, with its length.
func appendValue(b []byte, n *tree.Node) ([]byte, error) {
	at := len(b)
	b = append(b, 0)
	switch n.Kind() {
	case tree.Null:
		b = append(b, 1<<3|byte(protowire.VarintType), 0)
	case tree.Number:
		if math.IsInf(n.Num(), 0) {
			return nil, errors.New("number " + shorten(n.Text()) + " is out of range")
		}
		b = append(b, 2<<3|byte(protowire.Fixed64Type))
		b = protowire.AppendFixed64(b, math.Float64bits(n.Num()))
	case tree.String:
		b = append(b, 3<<3|byte(protowire.BytesType))
		b = protowire.AppendString(b, n.Text())
	case tree.True:
		b = append(b, 4<<3|byte(protowire.VarintType), 1)
	case tree.False:
		b = append(b, 4<<3|byte(protowire.VarintType), 0)
	default: // Struct is field 5, ListValue field 6; what they hold is field 1 of both
		field := byte(5)
		if n.Kind() == tree.Array {
			field = 6
		}
		b = append(b, field<<3|byte(protowire.BytesType))
		inner := len(b)
		b = append(b, 0)
		kids := n.List()
		for i := range kids {
			var err error
			b = append(b, 1<<3|byte(protowire.BytesType))
			if field == 6 {
				if b, err = appendValue(b, &kids[i]); err != nil {
					return nil, err
				}
				continue
			}
			entry := len(b)
			b = append(b, 0, 1<<3|byte(protowire.BytesType))
			b = protowire.AppendString(b, kids[i].Key())
			b = append(b, 2<<3|byte(protowire.BytesType))
			if b, err = appendValue(b, &kids[i]); err != nil {
				return nil, err
			}
			b = closeLength(b, entry)
		}
		b = closeLength(b, inner)
	}
	return closeLength(b, at), nil
}

func shorten(s string) string {
	if len(s) > 32 {
		return s[:32] + "..."
	}
	return s
}

// unsigned reads a number, or a string that holds one, as protobuf-JSON does.
func unsigned(n *tree.Node, kind fieldKind) (uint64, bool) {
	if k := n.Kind(); k != tree.Number && k != tree.String {
		return 0, false
	}
	bits := 64
	if kind == uint32Kind {
		bits = 32
	}
	text := n.Text()
	if plainDigits(text) {
		u, err := strconv.ParseUint(text, 10, bits)
		return u, err == nil
	}
	// Everything unusual (exponents, fractions of zero) is left to protojson.
	if kind == uint32Kind {
		var v wrapperspb.UInt32Value
		err := protojson.Unmarshal(n.AppendJSON(nil), &v)
		return uint64(v.Value), err == nil
	}
	var v wrapperspb.UInt64Value
	err := protojson.Unmarshal(n.AppendJSON(nil), &v)
	return v.Value, err == nil
}

// plainDigits reports whether a text is a whole number as JSON writes it.
func plainDigits(s string) bool {
	if s == "" || len(s) > 20 || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// double reads a number, or a string that holds one, as its bits.
func double(n *tree.Node) (uint64, bool) {
	switch n.Kind() {
	case tree.Number:
		return math.Float64bits(n.Num()), !math.IsInf(n.Num(), 0)
	case tree.String:
		var v wrapperspb.DoubleValue
		err := protojson.Unmarshal(n.AppendJSON(nil), &v)
		return math.Float64bits(v.Value), err == nil
	}
	return 0, false
}

// buffers are what events are written into before their size is known.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func putBuffer(b *[]byte) {
	if cap(*b) <= 256<<10 {
		buffers.Put(b)
	}
}
