package engine

import (
	"time"

	"google.golang.org/grpc"

	"github.com/epmesh/epmesh/node/wire"
)

// service is the contract's plugins.Engine, written by hand because the
// generated one decodes each log: one that is not UTF-8, or no protobuf at all,
// would end its stream.
var service = grpc.ServiceDesc{
	ServiceName: "plugins.Engine",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{
		{StreamName: "Input", Handler: input, ServerStreams: true, ClientStreams: true},
		{StreamName: "Notify", Handler: notify, ServerStreams: true, ClientStreams: true},
	},
	Metadata: "plugins.proto",
}

func input(srv any, gs grpc.ServerStream) error {
	r := srv.(*run)
	in := intake{tenant: r.tenant, maxLog: r.maxLog}
	return r.serve(gs, &r.logs, in.log)
}

func notify(srv any, gs grpc.ServerStream) error {
	r := srv.(*run)
	in := intake{tenant: r.tenant, maxLog: r.maxLog}
	return r.serve(gs, &r.messages, in.message)
}

// Flow-control windows. They hold what was received and not yet taken, beside
// MaxBuffered: as much as keeps a fast sender busy, and no more. Setting them
// also turns off gRPC's own estimate, which costs pings.
const (
	streamWindow = 256 << 10
	connWindow   = 512 << 10
	ioBuffer     = 64 << 10
)

func (r *run) newGRPC() *grpc.Server {
	g := grpc.NewServer(
		grpc.ForceServerCodecV2(wire.Codec()),
		grpc.MaxRecvMsgSize(max(HardLimit, 2*r.maxLog)),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(ioBuffer),
		grpc.WriteBufferSize(ioBuffer),
		grpc.WaitForHandlers(true),
		// A peer that connects and says nothing delays a stop by this at most.
		grpc.ConnectionTimeout(2*time.Second),
	)
	g.RegisterService(&service, r)
	return g
}
