// Package console is a node's HTTP side: whether it lives (/healthz), whether
// it is ready (/readyz), its metrics (/metrics), and a page that links them.
package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Part is one part of a node and whether it does its work.
type Part struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	// Reason says why it is not ready, for people. It holds no secrets: who can
	// reach the address can read it.
	Reason string `json:"reason,omitempty"`
}

// Options say what the console serves. Listen must be set.
type Options struct {
	// Listen is the address, such as 127.0.0.1:9600. Port 0 picks a free one.
	Listen string
	// Node is the name that the page bears.
	Node string
	// Metrics serves /metrics; nil leaves it out.
	Metrics http.Handler
	// Parts says how the node's parts are. It is called for each request, by
	// many goroutines at once, and returns soon. Nil means no parts.
	Parts func() []Part
	// Pprof serves Go's profiles at /debug/pprof/, to anyone who can reach the
	// address.
	Pprof bool
	// Log is where the server writes its own log.
	Log hclog.Logger
}

// Server is the console of one node, made by New.
type Server struct {
	opt   Options
	ready chan struct{}
	once  sync.Once
	addr  atomic.Pointer[string]
}

// New makes a server. It opens nothing before Serve.
func New(opt Options) *Server {
	if opt.Log == nil {
		opt.Log = hclog.NewNullLogger()
	}
	return &Server{opt: opt, ready: make(chan struct{})}
}

// Ready is closed once the address is bound.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is the address that is bound, or "" before Ready.
func (s *Server) Addr() string {
	if a := s.addr.Load(); a != nil {
		return *a
	}
	return ""
}

func (s *Server) String() string { return "console" }

// Bounds of a request, so that no peer can hold on to the server.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10
	stopTimeout  = time.Second
)

// Serve binds the address and serves it until ctx ends; then it lets requests
// under way finish, for a second, and returns nil. It may be called again after
// it has returned, not before.
func (s *Server) Serve(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.opt.Listen)
	if err != nil {
		return s.explain(err)
	}
	addr := l.Addr().String()
	s.addr.Store(&addr)
	s.once.Do(func() { close(s.ready) })
	s.opt.Log.Debug("console is open", "address", addr)

	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          s.opt.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve console: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if h.Shutdown(stop) != nil {
		h.Close()
	}
	<-failed
	return nil
}

// explain names the cure for an address that cannot be bound.
func (s *Server) explain(err error) error {
	const cure = "choose another with EPMESH_HTTP_LISTEN or http.listen (port 0 picks a free one)"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("open console: %s is in use by another process: %s", s.opt.Listen, cure)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("open console: %s needs more rights than this process has: %s", s.opt.Listen, cure)
	}
	return fmt.Errorf("open console: %w: %s", err, cure)
}

// Handler is all that the console serves. It only answers GET and HEAD.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.readiness)
	mux.HandleFunc("GET /{$}", s.page)
	if s.opt.Metrics != nil {
		mux.Handle("GET /metrics", s.opt.Metrics)
	}
	if s.opt.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}
