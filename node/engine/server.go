package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
	_ "google.golang.org/grpc/encoding/gzip" // senders in other languages may compress

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/telemetry"
)

// Server is the engine socket of one node. It is made by New, and its methods
// may be called by many goroutines.
type Server struct {
	opt   Options
	path  string
	ready chan struct{}
	once  sync.Once
	up    atomic.Bool

	logs, messages counters
}

// New makes a server. It opens nothing before Serve.
func New(opt Options) *Server {
	s := &Server{opt: opt.withDefaults(), ready: make(chan struct{})}
	s.path = filepath.Join(s.opt.Dir, "sockets", "engine_server.sock")
	s.logs.latency = telemetry.NewHistogram()
	s.messages.latency = telemetry.NewHistogram()
	return s
}

// Path is where the socket is.
func (s *Server) Path() string { return s.path }

// Ready is closed once the socket is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Check is nil while the socket takes streams, else it says why not.
func (s *Server) Check() error {
	if !s.up.Load() {
		return errors.New("the engine socket is not open")
	}
	return nil
}

func (s *Server) String() string { return "engine socket" }

// Serve opens the socket and serves it until ctx ends. Then it takes nothing
// more, stores and acks what was taken, ends the streams with UNAVAILABLE,
// removes the socket and returns nil, within Options.Drain and a moment. An
// error means that the socket could not be opened or broke. Serve may be called
// again after it has returned, not before.
func (s *Server) Serve(ctx context.Context) error {
	sock, err := openSocket(s.path, s.opt.Log)
	if err != nil {
		return fmt.Errorf("open engine socket: %w", err)
	}
	defer sock.release()

	storing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	r := &run{
		Server:      s,
		ctx:         storing,
		stopping:    make(chan struct{}),
		room:        semaphore.NewWeighted(int64(s.opt.MaxBuffered)),
		publisher:   s.opt.Publisher,
		deadLetters: s.opt.Dead,
		log:         s.opt.Log,
		tenant:      s.opt.Tenant,
		maxLog:      s.opt.MaxLog,
		maxBuffered: int64(s.opt.MaxBuffered),
		window:      s.opt.Window,
	}
	r.failing = rate.Sometimes{First: 1, Interval: logInterval}
	for i := range r.warnings {
		r.warnings[i] = rate.Sometimes{First: 1, Interval: logInterval}
	}
	g := r.newGRPC()
	failed := make(chan error, 1)
	go func() { failed <- g.Serve(sock) }()

	s.up.Store(true)
	s.once.Do(func() { close(s.ready) })
	s.opt.Log.Debug("engine socket is open", "socket", s.path)

	select {
	case err = <-failed:
		err = fmt.Errorf("serve engine socket: %w", err)
	case <-ctx.Done():
	}
	s.up.Store(false)
	sock.remove()

	// The streams end by themselves once they have stored what they hold;
	// GracefulStop waits for that. At the deadline storing is cut off, and a
	// little later the connections of senders that read no Acks.
	before := s.logs.abandoned.Load() + s.messages.abandoned.Load()
	close(r.stopping)
	drain := time.AfterFunc(s.opt.Drain, func() {
		cancel(errors.New("the time to stop is over"))
	})
	defer drain.Stop()
	force := time.AfterFunc(s.opt.Drain+500*time.Millisecond, g.Stop)
	defer force.Stop()
	g.GracefulStop()
	r.receivers.Wait()
	if n := s.logs.abandoned.Load() + s.messages.abandoned.Load() - before; n > 0 {
		s.opt.Log.Warn("stopped before all was stored: it was not acked, its senders have to send it again", "items", n)
	}
	return err
}

// logInterval is how often the log says the same thing: a flood of bad logs
// must not become a flood of lines.
const logInterval = 10 * time.Second

// run is one call of Serve.
type run struct {
	*Server
	ctx       context.Context // ends when storing must
	stopping  chan struct{}
	room      *semaphore.Weighted
	receivers sync.WaitGroup
	failing   rate.Sometimes
	warnings  [reasons]rate.Sometimes

	publisher   bridge.Publisher
	deadLetters DeadLetters
	log         hclog.Logger
	tenant      string
	maxLog      int
	maxBuffered int64
	window      int
}
