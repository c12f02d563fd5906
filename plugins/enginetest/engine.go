// Package enginetest is a node's engine socket for tests of plugins: it records
// what comes, and acks late, breaks streams and goes away as a test wants it.
package enginetest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Engine serves WORK_DIR/sockets/engine_server.sock. What it has acked counts as
// stored.
type Engine struct {
	pb.UnimplementedEngineServer
	Dir string

	mu      sync.Mutex
	server  *grpc.Server
	logs    []*pb.Log
	stored  []*pb.Log
	msgs    []*pb.Message
	streams int
	breakAt int  // the stream breaks before storing this many more logs
	held    bool // acks wait
	change  chan struct{}
}

// New makes an engine below dir and starts it; the test's end stops it.
func New(t testing.TB, dir string) *Engine {
	t.Helper()
	e := &Engine{Dir: dir, breakAt: -1, change: make(chan struct{})}
	e.Start(t)
	t.Cleanup(e.Stop)
	return e
}

// Start serves again after Stop.
func (e *Engine) Start(t testing.TB) {
	t.Helper()
	path := filepath.Join(e.Dir, "sockets", "engine_server.sock")
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterEngineServer(s, e)
	e.mu.Lock()
	e.server = s
	e.mu.Unlock()
	go func() { _ = s.Serve(l) }()
}

// Stop breaks all streams and closes the socket.
func (e *Engine) Stop() {
	e.mu.Lock()
	s := e.server
	e.mu.Unlock()
	e.Hold(false)
	s.Stop()
}

// Hold makes acks wait, or lets them go.
func (e *Engine) Hold(held bool) {
	e.mu.Lock()
	e.held = held
	e.mu.Unlock()
	e.changed()
}

// BreakAfter breaks the stream that is there once n more logs have come, without
// storing the last.
func (e *Engine) BreakAfter(n int) {
	e.mu.Lock()
	e.breakAt = n
	e.mu.Unlock()
}

func (e *Engine) changed() {
	e.mu.Lock()
	close(e.change)
	e.change = make(chan struct{})
	e.mu.Unlock()
}

// Received are all logs that came, with repetitions.
func (e *Engine) Received() []*pb.Log {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.logs[:len(e.logs):len(e.logs)]
}

// Stored are the logs that were acked, each id once, in order.
func (e *Engine) Stored() []*pb.Log {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := map[string]bool{}
	var out []*pb.Log
	for _, l := range e.stored {
		if !seen[l.Id] {
			seen[l.Id] = true
			out = append(out, l)
		}
	}
	return out
}

// Raws are the texts of Stored.
func (e *Engine) Raws() []string {
	var out []string
	for _, l := range e.Stored() {
		out = append(out, l.Raw)
	}
	return out
}

// Messages are all messages that came.
func (e *Engine) Messages() []*pb.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.msgs[:len(e.msgs):len(e.msgs)]
}

// Streams is how many streams were opened.
func (e *Engine) Streams() int { e.mu.Lock(); defer e.mu.Unlock(); return e.streams }

// Wait waits until ok holds; it is asked after each change.
func (e *Engine) Wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		e.mu.Lock()
		change := e.change
		e.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-change:
		case <-time.After(20 * time.Millisecond): // what ok asks may change elsewhere
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Input records logs and acks each, or those that came while acks were held by
// one Ack.
func (e *Engine) Input(s pb.Engine_InputServer) error {
	e.mu.Lock()
	e.streams++
	e.mu.Unlock()
	in := make(chan *pb.Log, 1<<16)
	failed := make(chan error, 1)
	go func() {
		defer close(in)
		for {
			l, err := s.Recv()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.logs = append(e.logs, l)
			broken := e.breakAt == 1
			if e.breakAt >= 0 {
				e.breakAt--
			}
			e.mu.Unlock()
			e.changed()
			if broken {
				failed <- status.Error(codes.Unavailable, "broken by the test")
				return
			}
			in <- l
		}
	}()
	for {
		var batch []*pb.Log
		select {
		case err := <-failed:
			return err
		case l, ok := <-in:
			if !ok {
				select {
				case err := <-failed:
					return err
				default:
					return nil
				}
			}
			batch = append(batch, l)
		}
		if err := e.wait(s.Context()); err != nil {
			return err
		}
		for more := true; more; {
			select {
			case l, ok := <-in:
				if more = ok; ok {
					batch = append(batch, l)
				}
			default:
				more = false
			}
		}
		e.mu.Lock()
		e.stored = append(e.stored, batch...)
		e.mu.Unlock()
		if err := s.Send(&pb.Ack{LastId: batch[len(batch)-1].Id}); err != nil {
			return err
		}
		e.changed()
	}
}

// wait holds acks back.
func (e *Engine) wait(ctx context.Context) error {
	for {
		e.mu.Lock()
		held, change := e.held, e.change
		e.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Notify records messages and acks each.
func (e *Engine) Notify(s pb.Engine_NotifyServer) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		if err := e.wait(s.Context()); err != nil {
			return err
		}
		e.mu.Lock()
		e.msgs = append(e.msgs, m)
		e.mu.Unlock()
		if err := s.Send(&pb.Ack{LastId: m.Id}); err != nil {
			return err
		}
		e.changed()
	}
}

// Dial connects to a plugin's socket once it is served.
func Dial(t testing.TB, dir, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "sockets", socket),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
