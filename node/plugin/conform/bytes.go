package conform

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// rawCodec sends bytes as they are under the name of protobuf, and reads
// nothing.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, errors.New("not bytes")
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

// sendBytes calls with a request of these bytes.
func sendBytes(ctx context.Context, cc *grpc.ClientConn, kind plugin.Kind, b []byte) error {
	if kind != plugin.Analysis {
		return noReply(cc.Invoke(ctx, methods[kind], b, new(struct{}), grpc.ForceCodecV2(rawCodec{})))
	}
	s, err := cc.NewStream(ctx, &pb.Analysis_ServiceDesc.Streams[0], methods[kind], grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if err := s.SendMsg(b); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		switch err := s.RecvMsg(new(struct{})); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
