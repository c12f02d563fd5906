package integration

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
)

// serveByKit serves what the other programs do, by the kit.
func (p program) serveByKit() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	o := plugins.Options{Name: p.Name}
	switch p.Kind {
	case plugin.Parsing:
		o.Parse = stamper{p: p}.ParseLog
	case plugin.Analysis:
		o.Analyze = func(ctx context.Context, e *pb.Event, emit func(*pb.Alert) error) error {
			return judge{p: p}.Analyze(e, emitter{ctx: ctx, emit: emit})
		}
	case plugin.Correlation:
		o.Correlate = func(ctx context.Context, a *pb.Alert) error {
			_, err := collector{p: p}.Correlate(ctx, a)
			return err
		}
	case plugin.Output:
		o.EventOutput = func(ctx context.Context, e *pb.Event) error {
			_, err := archive{p: p}.EventOutput(ctx, e)
			return err
		}
		o.AlertOutput = func(ctx context.Context, a *pb.Alert) error {
			_, err := archive{p: p}.AlertOutput(ctx, a)
			return err
		}
	default:
		return fmt.Errorf("no program of kind %q", p.Kind)
	}
	return plugins.Serve(ctx, o)
}

// emitter is a stream of alerts over the kit's function.
type emitter struct {
	grpc.ServerStream
	ctx  context.Context
	emit func(*pb.Alert) error
}

func (e emitter) Context() context.Context { return e.ctx }
func (e emitter) Send(a *pb.Alert) error   { return e.emit(a) }
