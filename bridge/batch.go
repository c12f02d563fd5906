package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Version is the storage format that this node writes and the highest that it
// reads.
const Version = 1

// ErrNewer says that a stored message was written in a newer format.
var ErrNewer = errors.New("stored by a newer epmesh; upgrade this node")

// Field numbers of Batch and Item in mesh.proto. Batches are written and read
// by hand so that bodies are neither copied nor allocated one by one: a decoded
// item is a part of the message that came.
const (
	batchVersion = 1
	batchItems   = 2

	itemID       = 1
	itemReceived = 2
	itemBody     = 3
	itemSubject  = 4
)

// itemFixed is what an encoded item takes beside its body, at the most: the
// tags, id, time and lengths.
const itemFixed = 64

// batchSize is at least what encodeBatch gives for bodies of n bytes together.
func batchSize(items, n int) int { return 8 + items*itemFixed + n }

// encodeBatch is the payload of one stored message, whose subject is that of its
// items.
func encodeBatch(items []Item) []byte { return encode(items, false) }

// encodeKeyed is encodeBatch with each item's subject.
func encodeKeyed(items []Item) []byte { return encode(items, true) }

func encode(items []Item, subjects bool) []byte {
	n := 0
	for i := range items {
		n += len(items[i].Body)
		if subjects {
			n += len(items[i].Subject)
		}
	}
	b := make([]byte, 0, batchSize(len(items), n))
	b = protowire.AppendTag(b, batchVersion, protowire.VarintType)
	b = protowire.AppendVarint(b, Version)
	for i := range items {
		it := &items[i]
		size := 1 + 1 + len(it.ID) + 1 + 8 + 1 + protowire.SizeBytes(len(it.Body))
		if subjects {
			size += 1 + protowire.SizeBytes(len(it.Subject))
		}
		b = protowire.AppendTag(b, batchItems, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = protowire.AppendTag(b, itemID, protowire.BytesType)
		b = protowire.AppendBytes(b, it.ID[:])
		b = protowire.AppendTag(b, itemReceived, protowire.Fixed64Type)
		b = binary.LittleEndian.AppendUint64(b, uint64(it.Received))
		b = protowire.AppendTag(b, itemBody, protowire.BytesType)
		b = protowire.AppendBytes(b, it.Body)
		if subjects {
			b = protowire.AppendTag(b, itemSubject, protowire.BytesType)
			b = protowire.AppendString(b, it.Subject)
		}
	}
	return b
}

// decodeBatch reads a stored message. The items' bodies are parts of data. The
// error is ErrNewer, or says that data is no batch.
func decodeBatch(data []byte, subject string) ([]Item, error) {
	version := uint64(0)
	var items []Item
	err := eachField(data, func(num protowire.Number, value uint64, bytes []byte) error {
		switch num {
		case batchVersion:
			version = value
		case batchItems:
			it, err := decodeItem(bytes)
			if err != nil {
				return err
			}
			if it.Subject == "" {
				it.Subject = subject
			}
			items = append(items, it)
		}
		return nil
	})
	// The version is looked at first: a newer format may be unreadable.
	if version > Version {
		return nil, fmt.Errorf("format %d: %w", version, ErrNewer)
	}
	if err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	if version == 0 {
		return nil, errors.New("read batch: no version: not a message of epmesh")
	}
	return items, nil
}

func decodeItem(data []byte) (Item, error) {
	it := Item{Attempt: 1}
	err := eachField(data, func(num protowire.Number, value uint64, bytes []byte) error {
		switch num {
		case itemID:
			if len(bytes) != len(it.ID) {
				return fmt.Errorf("an id of %d bytes", len(bytes))
			}
			copy(it.ID[:], bytes)
		case itemReceived:
			it.Received = int64(value)
		case itemBody:
			it.Body = bytes[:len(bytes):len(bytes)]
		case itemSubject:
			it.Subject = string(bytes)
		}
		return nil
	})
	return it, err
}

// eachField calls f with every field of a protobuf message: value for numbers,
// bytes for length-delimited ones. Groups are skipped.
func eachField(data []byte, f func(num protowire.Number, value uint64, bytes []byte) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var value uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := f(num, value, bytes); err != nil {
			return err
		}
	}
	return nil
}
