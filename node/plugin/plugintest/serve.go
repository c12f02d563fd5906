package plugintest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// listen binds a plugin's socket in dir, over a stale one if there is one.
func listen(dir string, kind plugin.Kind, name string) (*net.UnixListener, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, plugin.SocketName(kind, name))
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// newServer is the gRPC server of one kind of plugin.
func newServer(kind plugin.Kind, h *handler) (*grpc.Server, error) {
	var opts []grpc.ServerOption
	if n := h.script().MaxReceive; n > 0 {
		opts = append(opts, grpc.MaxRecvMsgSize(n))
	}
	s := grpc.NewServer(opts...)
	switch kind {
	case plugin.Parsing:
		pb.RegisterParsingServer(s, parsing{h: h})
	case plugin.Analysis:
		pb.RegisterAnalysisServer(s, analysis{h: h})
	case plugin.Correlation:
		pb.RegisterCorrelationServer(s, correlation{h: h})
	case plugin.Notification:
		pb.RegisterNotificationServer(s, notification{h: h})
	case plugin.Output:
		pb.RegisterOutputServer(s, output{h: h})
	default:
		return nil, fmt.Errorf("plugintest: no kind %q", kind)
	}
	return s, nil
}

type parsing struct {
	pb.UnimplementedParsingServer
	h *handler
}

func (p parsing) ParseLog(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
	if err := p.h.item(ctx, "", tr); err != nil {
		return nil, err
	}
	return p.h.draft(tr.GetDraft())
}

type analysis struct {
	pb.UnimplementedAnalysisServer
	h *handler
}

func (a analysis) Analyze(e *pb.Event, stream grpc.ServerStreamingServer[pb.Alert]) error {
	if err := a.h.item(stream.Context(), e.GetId(), e); err != nil {
		return err
	}
	for _, alert := range a.h.alerts(e) {
		if err := stream.Send(alert); err != nil {
			return err
		}
	}
	if a.h.script().EOF {
		return io.EOF
	}
	return nil
}

type correlation struct {
	pb.UnimplementedCorrelationServer
	h *handler
}

func (c correlation) Correlate(ctx context.Context, a *pb.Alert) (*emptypb.Empty, error) {
	return nil, c.h.item(ctx, a.GetId(), a)
}

type notification struct {
	pb.UnimplementedNotificationServer
	h *handler
}

func (n notification) Notify(ctx context.Context, m *pb.Message) (*emptypb.Empty, error) {
	return nil, n.h.item(ctx, m.GetId(), m)
}

type output struct {
	pb.UnimplementedOutputServer
	h *handler
}

func (o output) EventOutput(ctx context.Context, e *pb.Event) (*emptypb.Empty, error) {
	return nil, o.h.item(ctx, e.GetId(), e)
}

func (o output) AlertOutput(ctx context.Context, a *pb.Alert) (*emptypb.Empty, error) {
	return nil, o.h.item(ctx, a.GetId(), a)
}
