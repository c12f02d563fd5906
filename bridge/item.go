package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ID is the identity of an item: 16 bytes that derive from what the item is
// made of, never from a clock or a random number, so that a step done twice
// gives the same outputs and the stream keeps one of them.
type ID [16]byte

// NewID derives an identity from parts. Each part is length-prefixed, so that
// ("a", "bc") and ("ab", "c") differ.
func NewID(parts ...[]byte) ID {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	var sum [sha256.Size]byte
	return ID(h.Sum(sum[:0])[:16])
}

// Derive is the identity of the output with this index that plugin (or a stage)
// made of the item.
func (id ID) Derive(plugin string, index int) ID {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(index))
	return NewID(id[:], []byte(plugin), n[:])
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes it readable in JSON, that of the log above all.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Item is one log, draft, event, alert or message on its way between stages.
type Item struct {
	ID ID
	// Subject is where an output goes, and where an input came from.
	Subject string
	// Received is when the log reached an engine socket, Unix nanoseconds.
	// An output takes it from its input.
	Received int64
	// Body is the contract's message (or a mesh message) in wire form. It must
	// not be changed: an input's body is a part of the stored batch.
	Body []byte

	// Attempt counts from 1. Above 1 the item is tried alone: no other item of
	// its batch is worked on at the same time.
	Attempt int
	// LastErr is what the attempt before ended with.
	LastErr error
}

// Handler does a stage's work on one item and returns its outputs. It is called
// by many goroutines at once. A nil error means: once the outputs are stored,
// the input is done. See the errors of this package for what else it may say.
//
// A Handler returns soon after ctx ends.
type Handler func(ctx context.Context, item Item) ([]Item, error)

// Publisher stores items.
type Publisher interface {
	// Publish returns once all items are stored, or with the error of an item
	// that never can be (IsPermanent), or when ctx ends. A full or unreachable
	// stream is waited for. Safe for concurrent use; calls from many goroutines
	// share messages.
	Publish(ctx context.Context, items ...Item) error
}
