package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Options say what a plugin serves. Each function that is set is served on its
// own socket, WORK_DIR/sockets/<Name>_<kind>.sock; at least one must be set.
//
// The functions are called by many goroutines at once, as many as the node has
// calls in flight. The context of a call ends when the node gives the call up.
// An error with a gRPC status keeps it: Unavailable, DeadlineExceeded and
// ResourceExhausted are tried again later, InvalidArgument and the like make the
// item a dead letter. Any other error counts as an attempt.
type Options struct {
	// Name is the plugin's name in the configuration.
	Name string
	// Dir is the work dir; empty means WorkDir.
	Dir string
	// Logger gets the life of the plugin; nil means JSON lines on standard error.
	Logger hclog.Logger

	// Parse answers a dynamic step of a pipeline with the changed draft.
	Parse func(ctx context.Context, t *Transform) (*Draft, error)
	// Analyze looks at one event and hands each alert to emit, which is not to
	// be called once Analyze has returned.
	Analyze func(ctx context.Context, e *Event, emit func(*Alert) error) error
	// Correlate takes one alert.
	Correlate func(ctx context.Context, a *Alert) error
	// Notify delivers one message.
	Notify func(ctx context.Context, m *Message) error
	// EventOutput and AlertOutput take what the mesh made; both are served on
	// <Name>_output.sock, the one that is nil answers Unimplemented.
	EventOutput func(ctx context.Context, e *Event) error
	AlertOutput func(ctx context.Context, a *Alert) error

	// MaxMessage bounds what is received, in bytes; 0 means 64 MiB. The node
	// sends no more than its plugins.max_message.
	MaxMessage int
	// Grace is how long calls in flight may go on once ctx has ended; 0 means
	// 1.5 s, as the node kills what is there after two (plugins.stop_grace).
	Grace time.Duration

	// services holds those of the Init helpers, by kind.
	services map[string]service
	// Health says whether the plugin can do its work now, for whoever asks on its
	// sockets by grpc.health.v1; nil means that it can while it serves. It is
	// called by many goroutines, and must return soon.
	Health func(ctx context.Context) error

	// ready is called once all sockets are open.
	ready func()
}

const (
	defaultMaxMessage = 64 << 20
	defaultGrace      = 1500 * time.Millisecond
)

// Serve opens the plugin's sockets and serves until ctx ends; then it takes no
// new calls, waits for those in flight, removes the sockets and returns nil. A
// stale socket of a process that died is replaced; a socket that another
// process serves is an error. A panic in a function is that call's Internal
// error, not the end of the process.
//
// Each socket serves the contract's service, the batch lane by which the node
// hands over many items at once, and grpc.health.v1.Health. The functions need
// not know by which way an item came.
func Serve(ctx context.Context, opts Options) error {
	if err := checkName(opts.Name); err != nil {
		return err
	}
	services := opts.all()
	if len(services) == 0 {
		return fmt.Errorf("plugin %s: nothing to serve: set one of Parse, Analyze, Correlate, Notify, EventOutput, AlertOutput", opts.Name)
	}
	log := opts.Logger
	if log == nil {
		log = NewLogger(opts.Name, nil)
	}

	var servers []*grpc.Server
	failed := make(chan error, len(services))
	health := newHealth(opts.Health)
	stop := func() {
		health.stop()
		grace := time.AfterFunc(cmp.Or(opts.Grace, defaultGrace), func() {
			log.Warn("calls still in flight, giving them up", "grace", cmp.Or(opts.Grace, defaultGrace).String())
			for _, s := range servers {
				s.Stop()
			}
		})
		// All at once: each takes new calls until it is told.
		var stopping sync.WaitGroup
		for _, s := range servers {
			stopping.Go(s.GracefulStop)
		}
		stopping.Wait()
		grace.Stop()
	}
	for kind, service := range services {
		path, err := socketPath(cmp.Or(opts.Dir, WorkDir), opts.Name+"_"+kind+".sock")
		var l net.Listener
		if err == nil {
			l, err = listenUnix(path)
		}
		if err != nil {
			stop()
			return err
		}
		s := opts.server(log, service, health)
		servers = append(servers, s)
		go func() { failed <- s.Serve(l) }()
		log.Info("serving", "kind", kind, "socket", path)
	}
	if opts.ready != nil {
		opts.ready()
	}

	var err error
	select {
	case <-ctx.Done():
		stop()
	case err = <-failed:
		stop()
		if errors.Is(err, grpc.ErrServerStopped) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", opts.Name, err)
	}
	log.Info("stopped")
	return nil
}

// server is a gRPC server with the kit's limits. Windows are larger than
// gRPC's own so that one large event does not wait for window updates.
func (o Options) server(log hclog.Logger, service service, health *health) *grpc.Server {
	receive := cmp.Or(o.MaxMessage, defaultMaxMessage)
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(wire.Codec()),
		grpc.MaxRecvMsgSize(receive),
		// One answer as large as can be, and what goes with it.
		grpc.MaxSendMsgSize(defaultMaxMessage+2*maxLaneOut),
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
			defer recoverCall(log, &err)
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer recoverCall(log, &err)
			return next(srv, ss)
		}),
	)
	service.register(s)
	pb.RegisterLaneServer(s, laneServer{service: service, maxReceive: receive, log: log})
	health.register(s, service.name())
	return s
}

func recoverCall(log hclog.Logger, err *error) {
	if r := recover(); r != nil {
		log.Error("panic in a call", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "plugin panicked: %v", r)
	}
}

// all are the wanted services by kind, which is also the socket's suffix.
func (o Options) all() map[string]service {
	m := map[string]service{}
	if o.Parse != nil {
		m["parsing"] = parsing{do: o.Parse}
	}
	if o.Analyze != nil {
		m["analysis"] = analysis{do: func(e *Event, out Analysis_AnalyzeServer) error {
			return o.Analyze(out.Context(), e, out.Send)
		}}
	}
	if o.Correlate != nil {
		m["correlation"] = correlation{do: func(ctx context.Context, a *Alert) (*emptypb.Empty, error) {
			return nil, o.Correlate(ctx, a)
		}}
	}
	if o.Notify != nil {
		m["notification"] = notification{do: func(ctx context.Context, msg *Message) (*emptypb.Empty, error) {
			return nil, o.Notify(ctx, msg)
		}}
	}
	if o.EventOutput != nil || o.AlertOutput != nil {
		m["output"] = output{event: o.EventOutput, alert: o.AlertOutput}
	}
	maps.Copy(m, o.services)
	return m
}
