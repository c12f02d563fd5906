// Package wire carries the contract's messages as bytes: a gRPC codec that
// passes stored bytes through without decoding them, and scans that read the
// few fields a node needs from a message in wire form. Bytes pass unknown
// fields on by nature.
package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Frame is one gRPC message as bytes. As a request it is sent as it is; as a
// response it holds its own copy of what came.
type Frame struct{ Bytes []byte }

// Codec is the "proto" codec for clients and servers that send and receive
// *Frame beside protobuf messages. It takes the name of gRPC's own codec, so
// the other side sees an ordinary peer.
//
// A request Frame must not change until its call has returned.
func Codec() encoding.CodecV2 { return codec{} }

type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Frame:
		return mem.BufferSlice{mem.SliceBuffer(m.Bytes)}, nil
	case proto.Message:
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return nil, fmt.Errorf("wire: cannot send a %T", v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *Frame:
		m.Bytes = data.Materialize()
		return nil
	case proto.Message:
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		return proto.Unmarshal(buf.ReadOnlyData(), m)
	}
	return fmt.Errorf("wire: cannot receive a %T", v)
}
