// Package wire carries the contract's messages as bytes: a gRPC codec that
// passes stored bytes through without decoding them, and scans that read the
// few fields a node needs from a message in wire form. Bytes pass unknown
// fields on by nature.
package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Frame is one gRPC message as bytes. As a request it is sent as it is; as a
// response it holds its own copy of what came.
type Frame struct{ Bytes []byte }

// Pooled is one gRPC message in a buffer that is used again. Sending it hands
// the buffer to gRPC, which frees it; what was received is the receiver's to
// free.
type Pooled struct{ Buffer mem.Buffer }

// pool has steps that suit frames of many items: gRPC's own goes from 32 KiB to
// a whole MiB.
var pool = mem.NewTieredBufferPool(4<<10, 16<<10, 64<<10, 256<<10, 1<<20)

// NewBuffer gives an empty buffer with room for size bytes, to be filled for
// Finish.
func NewBuffer(size int) *[]byte {
	b := pool.Get(size)
	*b = (*b)[:0]
	return b
}

// Grow makes room for n more bytes in a buffer of NewBuffer, which it takes
// back if it gives another.
func Grow(b *[]byte, n int) *[]byte {
	if cap(*b)-len(*b) >= n {
		return b
	}
	bigger := NewBuffer(max(2*cap(*b), len(*b)+n))
	*bigger = append(*bigger, *b...)
	pool.Put(b)
	return bigger
}

// Finish makes a filled buffer of NewBuffer a message. It must not have grown
// beyond its capacity.
func Finish(b *[]byte) *Pooled { return &Pooled{mem.NewBuffer(b, pool)} }

// Codec is the "proto" codec for clients and servers that send and receive
// *Frame and *Pooled beside protobuf messages, for which it is gRPC's own. It
// takes the name of that, so the other side sees an ordinary peer.
//
// A request Frame must not change until its call has returned.
func Codec() encoding.CodecV2 { return codec{} }

type codec struct{}

// standard is what gRPC registers for protobuf messages.
var standard = encoding.GetCodecV2(grpcproto.Name)

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Frame:
		return mem.BufferSlice{mem.SliceBuffer(m.Bytes)}, nil
	case *Pooled:
		return mem.BufferSlice{m.Buffer}, nil
	case proto.Message:
		return standard.Marshal(m)
	}
	return nil, fmt.Errorf("wire: cannot send a %T", v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *Frame:
		m.Bytes = data.Materialize()
		return nil
	case *Pooled:
		m.Buffer = data.MaterializeToBuffer(pool)
		return nil
	case proto.Message:
		return standard.Unmarshal(data, m)
	}
	return fmt.Errorf("wire: cannot receive a %T", v)
}
