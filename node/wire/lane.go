package wire

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

// The messages of the batch lane, written and read without the generated code:
// it would copy each body once more and allocate several times for each item.

// LaneCall is a call as it stands in a LaneCalls message. Body is a part of
// that message's bytes, not a copy.
type LaneCall struct {
	ID     uint64
	Method pb.LaneMethod
	Body   []byte
}

// LaneAnswer is an answer as it stands in a LaneAnswers message. Text, Messages
// and Details are parts of that message's bytes, not copies.
type LaneAnswer struct {
	ID     uint64
	Code   uint32
	Text   []byte
	Excess pb.LaneExcess
	// Messages are those with content, up to the limit of the scan; Count is how
	// many there were.
	Messages [][]byte
	Count    int
	// Details are those of an error, the first MaxLaneDetails.
	Details [][]byte
}

// MaxLaneDetails is how many details of an error are read.
const MaxLaneDetails = 16

const (
	callsCalls    protowire.Number = 2 // of LaneCalls
	callsEnded    protowire.Number = 3
	callID        protowire.Number = 1 // of LaneCall
	callMethod    protowire.Number = 2
	callBody      protowire.Number = 3
	answersOf     protowire.Number = 2 // of LaneAnswers
	answerID      protowire.Number = 1 // of LaneAnswer
	answerCode    protowire.Number = 2
	answerText    protowire.Number = 3
	answerMessage protowire.Number = 4
	answerExcess  protowire.Number = 5
	answerDetail  protowire.Number = 6
)

// LaneCallOverhead is what a call in a LaneCalls message takes besides its
// body, at most: tags, lengths, id and method.
const LaneCallOverhead = 1 + 5 + 9 + 2 + 1 + 5

// LaneEndedSize is what an ended id takes in a LaneCalls message.
const LaneEndedSize = 1 + 1 + 8

// AppendLaneCall appends a call to a LaneCalls message.
func AppendLaneCall(b []byte, id uint64, method pb.LaneMethod, body []byte) []byte {
	size := 9 + 2
	if len(body) > 0 {
		size += 1 + protowire.SizeBytes(len(body))
	}
	b = protowire.AppendTag(b, callsCalls, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, callID, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, id)
	b = protowire.AppendTag(b, callMethod, protowire.VarintType)
	b = append(b, byte(method)) // all are below 128
	if len(body) > 0 {
		b = protowire.AppendTag(b, callBody, protowire.BytesType)
		b = protowire.AppendBytes(b, body)
	}
	return b
}

// AppendLaneEnded appends the id of a call that was given up to a LaneCalls
// message.
func AppendLaneEnded(b []byte, id uint64) []byte {
	b = protowire.AppendTag(b, callsEnded, protowire.BytesType)
	b = append(b, 8)
	return protowire.AppendFixed64(b, id)
}

// AppendLaneMessage appends m to the messages of an answer, for
// AppendLaneAnswer. It fails where m cannot be encoded, and b is then as it was.
func AppendLaneMessage(b []byte, m proto.Message) ([]byte, error) {
	before := len(b)
	size := proto.Size(m)
	b = protowire.AppendTag(b, answerMessage, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	whole, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return b[:before], err
	}
	if len(whole)-len(b) != size {
		// Another goroutine changes it.
		return b[:before], fmt.Errorf("wire: %T changed while it was encoded", m)
	}
	return whole, nil
}

// AppendLaneDetail appends a detail of an error, a google.protobuf.Any in wire
// form, to what stands in the place of messages for AppendLaneAnswer.
func AppendLaneDetail(b, detail []byte) []byte {
	b = protowire.AppendTag(b, answerDetail, protowire.BytesType)
	return protowire.AppendBytes(b, detail)
}

// LaneAnswerSize is what AppendLaneAnswer appends, at most.
func LaneAnswerSize(text string, messages []byte) int {
	return 1 + 5 + 9 + 6 + 6 + len(text) + 2 + len(messages)
}

// AppendLaneAnswer appends an answer to a LaneAnswers message. messages is what
// AppendLaneMessage, or for an error AppendLaneDetail, made.
func AppendLaneAnswer(b []byte, id uint64, code uint32, text string, excess pb.LaneExcess, messages []byte) []byte {
	size := 9 + len(messages)
	if code != 0 {
		size += 1 + protowire.SizeVarint(uint64(code))
	}
	if text != "" {
		size += 1 + protowire.SizeBytes(len(text))
	}
	if excess != 0 {
		size += 2
	}
	b = protowire.AppendTag(b, answersOf, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, answerID, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, id)
	if code != 0 {
		b = protowire.AppendTag(b, answerCode, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(code))
	}
	if text != "" {
		b = protowire.AppendTag(b, answerText, protowire.BytesType)
		b = protowire.AppendString(b, text)
	}
	if excess != 0 {
		b = protowire.AppendTag(b, answerExcess, protowire.VarintType)
		b = append(b, byte(excess))
	}
	return append(b, messages...)
}

// ScanLaneCalls reads a LaneCalls message but for its limits: it hands each call
// to call and the id of each ended one to ended, in this message's order. What
// they were handed is good as long as b.
func ScanLaneCalls(b []byte, call func(LaneCall), ended func(id uint64)) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
		switch {
		case num == callsCalls && typ == protowire.BytesType:
			c, err := scanLaneCall(v)
			if err != nil {
				return err
			}
			call(c)
		case num == callsEnded && typ == protowire.Fixed64Type:
			ended(n)
		case num == callsEnded && typ == protowire.BytesType:
			for ; len(v) > 0; v = v[8:] {
				if len(v) < 8 {
					return ErrMalformed
				}
				ended(binary.LittleEndian.Uint64(v))
			}
		}
		return nil
	})
}

func scanLaneCall(b []byte) (c LaneCall, err error) {
	err = eachField(b, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
		switch {
		case num == callID && typ == protowire.Fixed64Type:
			c.ID = n
		case num == callMethod && typ == protowire.VarintType:
			c.Method = pb.LaneMethod(int32(n))
		case num == callBody && typ == protowire.BytesType:
			c.Body = v
		}
		return nil
	})
	return c, err
}

// ScanLaneAnswers reads a LaneAnswers message but for its offer, and hands each
// answer to do, with at most keep messages. What do is handed is good until it
// returns; the parts of b that it points to, as long as b.
func ScanLaneAnswers(b []byte, keep int, do func(*LaneAnswer)) error {
	var a LaneAnswer
	return eachField(b, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != answersOf || typ != protowire.BytesType {
			return nil
		}
		a = LaneAnswer{Messages: a.Messages[:0], Details: a.Details[:0]}
		if err := scanLaneAnswer(v, keep, &a); err != nil {
			return err
		}
		do(&a)
		return nil
	})
}

func scanLaneAnswer(b []byte, keep int, a *LaneAnswer) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
		switch {
		case num == answerID && typ == protowire.Fixed64Type:
			a.ID = n
		case num == answerCode && typ == protowire.VarintType:
			a.Code = uint32(n)
		case num == answerExcess && typ == protowire.VarintType:
			a.Excess = pb.LaneExcess(int32(n))
		case num == answerText && typ == protowire.BytesType:
			a.Text = v
		case num == answerMessage && typ == protowire.BytesType && len(v) > 0:
			if a.Count++; a.Count <= keep {
				a.Messages = append(a.Messages, v)
			}
		case num == answerDetail && typ == protowire.BytesType && len(a.Details) < MaxLaneDetails:
			a.Details = append(a.Details, v)
		}
		return nil
	})
}

// eachField hands the fields of a message to do: the bytes of a length-delimited
// one, the number of a varint or fixed one. Groups are skipped.
func eachField(b []byte, do func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		if num > protowire.MaxValidNumber {
			return fmt.Errorf("%w: field number %d is too large", ErrMalformed, num)
		}
		b = b[n:]
		var v []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if err := do(num, typ, v, number); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error { return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n)) }
