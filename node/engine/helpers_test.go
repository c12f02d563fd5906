package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/engine"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a Publisher and DeadLetters in memory.
type store struct {
	mu      sync.Mutex
	items   []bridge.Item
	refused []engine.Refused

	// gate holds every Publish back until it is closed; nil holds nothing.
	gate chan struct{}
	// delay is how long a Publish takes.
	delay time.Duration
	// entered gets a value when a Publish begins, if it is not nil.
	entered chan int
	// publish and dead, where set, may fail a call before it stores anything.
	publish func(items []bridge.Item) error
	dead    func(refused []engine.Refused) error
}

func (s *store) Publish(ctx context.Context, items ...bridge.Item) error {
	if s.entered != nil {
		select {
		case s.entered <- len(items):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publish != nil {
		if err := s.publish(items); err != nil {
			return err
		}
	}
	s.items = append(s.items, items...)
	return nil
}

func (s *store) Dead(_ context.Context, refused ...engine.Refused) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		if err := s.dead(refused); err != nil {
			return err
		}
	}
	s.refused = append(s.refused, refused...)
	return nil
}

func (s *store) stored() []bridge.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

func (s *store) deadLetters() []engine.Refused {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// start runs a server until stop is called or the test ends.
func start(tb testing.TB, opt engine.Options) (srv *engine.Server, stop func() error) {
	tb.Helper()
	if opt.Dir == "" {
		opt.Dir = shortdir.New(tb)
	}
	srv = engine.New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Serve has not returned")
		}
	})
	tb.Cleanup(func() { stop() })
	select {
	case <-srv.Ready():
	case err := <-done:
		done <- err
		tb.Fatalf("Serve: %v", err)
	}
	return srv, stop
}

// dial connects to a server.
func dial(tb testing.TB, srv *engine.Server, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	return dialAt(tb, srv.Path(), opts...)
}

func dialAt(tb testing.TB, socket string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("unix://"+socket, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// frames is an Input (or Notify) stream that sends bytes as they are.
func frames(tb testing.TB, srv *engine.Server, method string) *frameStream {
	tb.Helper()
	conn := dial(tb, srv, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec())))
	st, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/plugins.Engine/"+method)
	if err != nil {
		tb.Fatal(err)
	}
	return &frameStream{tb, st}
}

type frameStream struct {
	tb testing.TB
	grpc.ClientStream
}

func (f *frameStream) send(b []byte) {
	f.tb.Helper()
	if err := f.SendMsg(&wire.Frame{Bytes: b}); err != nil {
		f.tb.Fatalf("send: %v", err)
	}
}

func (f *frameStream) ack() string {
	f.tb.Helper()
	var ack pb.Ack
	if err := f.RecvMsg(&ack); err != nil {
		f.tb.Fatalf("receive an ack: %v", err)
	}
	return ack.LastId
}

// input is an Input stream as the contract's generated client has it.
func input(tb testing.TB, srv *engine.Server) pb.Engine_InputClient {
	tb.Helper()
	return inputAt(tb, srv.Path())
}

func inputAt(tb testing.TB, socket string) pb.Engine_InputClient {
	tb.Helper()
	st, err := pb.NewEngineClient(dialAt(tb, socket)).Input(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func unmarshalLog(tb testing.TB, b []byte) *pb.Log {
	tb.Helper()
	var l pb.Log
	if err := proto.Unmarshal(b, &l); err != nil {
		tb.Fatalf("a stored log is malformed: %v", err)
	}
	return &l
}

// eventually waits until ok, which other goroutines make true, is.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("after 10 s still not: %s", what)
		}
	}
}

// publisherFunc is a Publisher that hears of no ctx.
type publisherFunc func(items []bridge.Item) error

func (f publisherFunc) Publish(_ context.Context, items ...bridge.Item) error { return f(items) }
