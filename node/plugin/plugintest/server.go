package plugintest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/plugins"
)

// Server is a plugin in the test's own process.
type Server struct {
	graceful, hard func()
	done           chan struct{}
	once           sync.Once
	stop           chan struct{}

	mu     sync.Mutex
	script Script
	items  []proto.Message
}

// Start serves a plugin on its socket in dir until Stop, Kill or the end of the
// test.
func Start(tb testing.TB, dir string, kind plugin.Kind, name string, script Script) *Server {
	tb.Helper()
	s := &Server{script: script, done: make(chan struct{}), stop: make(chan struct{})}
	h := &handler{
		name:   name,
		script: s.current,
		seen:   s.see,
		die:    func() { go s.Kill() },
		stop:   s.stop,
	}
	if script.Kit {
		s.startKit(tb, dir, kind, h)
	} else {
		s.startPlain(tb, dir, kind, h)
	}
	tb.Cleanup(s.Kill)
	return s
}

func (s *Server) startPlain(tb testing.TB, dir string, kind plugin.Kind, h *handler) {
	tb.Helper()
	l, err := listen(dir, kind, h.name)
	if err != nil {
		tb.Fatalf("plugintest: %v", err)
	}
	server, err := newServer(kind, h)
	if err != nil {
		tb.Fatal(err)
	}
	s.graceful = server.GracefulStop
	s.hard = func() {
		l.SetUnlinkOnClose(false)
		server.Stop()
	}
	go func() {
		defer close(s.done)
		// What Serve returns after Stop is of no interest.
		_ = server.Serve(l)
	}()
}

// startKit has the kit serve. A Kill gives calls a moment, and removes the
// socket.
func (s *Server) startKit(tb testing.TB, dir string, kind plugin.Kind, h *handler) {
	o := kitOptions(dir, kind, h)
	o.Grace = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	s.graceful, s.hard = cancel, cancel
	go func() {
		defer close(s.done)
		if err := plugins.Serve(ctx, o); err != nil {
			tb.Errorf("plugintest: %v", err)
		}
	}()
}

// Stop ends the plugin gracefully: what it has taken is answered (what hangs,
// with an error), and the socket is removed.
func (s *Server) Stop() { s.end(s.graceful) }

// Kill ends the plugin as SIGKILL would: connections break and the socket file
// stays behind.
func (s *Server) Kill() { s.end(s.hard) }

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
	if !s.script.Drop {
		s.items = append(s.items, m)
	}
}
