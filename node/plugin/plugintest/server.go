package plugintest

import (
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/plugin"
)

// Server is a plugin in the test's own process.
type Server struct {
	tb       testing.TB
	listener *net.UnixListener
	grpc     *grpc.Server
	done     chan struct{}
	once     sync.Once
	stop     chan struct{}

	mu     sync.Mutex
	script Script
	items  []proto.Message
}

// Start serves a plugin on its socket in dir until Stop, Kill or the end of the
// test.
func Start(tb testing.TB, dir string, kind plugin.Kind, name string, script Script) *Server {
	tb.Helper()
	l, err := listen(dir, kind, name)
	if err != nil {
		tb.Fatalf("plugintest: %v", err)
	}
	s := &Server{
		tb: tb, listener: l, script: script,
		done: make(chan struct{}), stop: make(chan struct{}),
	}
	s.grpc, err = newServer(kind, &handler{
		name:   name,
		script: s.current,
		seen:   s.see,
		die:    func() { go s.Kill() },
		stop:   s.stop,
	})
	if err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(s.done)
		// What Serve returns after Stop is of no interest.
		_ = s.grpc.Serve(l)
	}()
	tb.Cleanup(s.Kill)
	return s
}

// Stop ends the plugin gracefully: what it has taken is answered (what hangs,
// with an error), and the socket is removed.
func (s *Server) Stop() { s.end(s.grpc.GracefulStop) }

// Kill ends the plugin as SIGKILL would: connections break and the socket file
// stays behind.
func (s *Server) Kill() {
	s.listener.SetUnlinkOnClose(false)
	s.end(s.grpc.Stop)
}

func (s *Server) end(how func()) {
	s.once.Do(func() {
		close(s.stop)
		how()
		<-s.done
	})
}

// SetScript changes how the plugin behaves from the next call on.
func (s *Server) SetScript(script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// Calls is how many calls have come.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

// Items are the requests of all calls, in the order in which they came.
func (s *Server) Items() []proto.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

func (s *Server) current() Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script
}

func (s *Server) see(m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, m)
}
