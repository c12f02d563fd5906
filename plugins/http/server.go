package httpin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

const (
	// reportEvery is how often the counters are logged, if they changed.
	reportEvery = time.Minute
	// stopWait is how long requests in hand may go on when the plugin stops, and
	// closeWait how long the last Acks are waited for after that. Together they
	// are less than a node waits before it kills (plugins.stop_grace, 2 s).
	stopWait  = 1500 * time.Millisecond
	closeWait = 300 * time.Millisecond
)

// server is the running plugin.
type server struct {
	plugins.Instance
	settings

	tokens *tokens
	certs  []*certificates // by listener; nil without TLS
	hand   *hand
	keys   *keys
	in     *plugins.Input
	counts counters

	// working is held for reading by each request, and taken once all are done.
	working sync.RWMutex
	stopped bool
}

// prepare reads the files that the settings name.
func (s *server) prepare() error {
	var errs []error
	s.tokens = &tokens{files: s.Tokens}
	errs = append(errs, s.tokens.load())
	for i, l := range s.Listeners {
		var c *certificates
		if l.TLS.Cert != "" {
			c = &certificates{settings: l.TLS}
			if err := c.load(); err != nil {
				errs = append(errs, fmt.Errorf("listeners[%d].%w", i, err))
			}
		}
		s.certs = append(s.certs, c)
	}
	s.hand = &hand{maxRequests: s.MaxRequests, maxBytes: s.MaxInHand}
	return errors.Join(errs...)
}

// Run listens until ctx ends; then requests in hand are finished, for a moment,
// and new ones are not taken. All addresses are bound before anything is taken,
// and each is announced by one line in the log, "listening" with its address.
func (s *server) Run(ctx context.Context) error {
	bound := make([]net.Listener, 0, len(s.Listeners))
	closeAll := func() {
		for _, l := range bound {
			l.Close()
		}
	}
	for _, l := range s.Listeners {
		on, err := net.Listen("tcp", l.Listen)
		if err != nil {
			closeAll()
			return fmt.Errorf("listen on %s: %w", l.Listen, err)
		}
		bound = append(bound, capped(on, s.MaxConnections))
	}
	var err error
	if s.keys, err = openKeys(filepath.Join(s.Dir, "state", s.Name), s.Idempotency.Keys, s.Idempotency.Keep.D(), time.Now(), s.Logger); err != nil {
		closeAll()
		return err
	}
	defer s.keys.journal.close()
	if s.in, err = plugins.NewInput(s.Sender()); err != nil {
		closeAll()
		return err
	}

	group, gctx := errgroup.WithContext(ctx)
	for i, l := range s.Listeners {
		if l.Insecure && !loopback(hostOf(l.Listen)) {
			s.Logger.Warn("listening beyond this machine with insecure: true: whoever reaches the address can send logs or read what is sent", "address", l.Listen)
		}
		s.Logger.Info("listening", "network", "tcp", "address", bound[i].Addr().String(), "tls", s.certs[i] != nil, "tokens", len(s.Tokens) > 0)
		s.serve(gctx, group, i, bound[i])
	}
	group.Go(func() error { return s.watch(gctx) })
	group.Go(func() error { return s.report(gctx) })
	err = group.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	s.working.Lock() // their contexts have ended, and so will they
	s.stopped = true
	s.working.Unlock()
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	if e := s.in.Close(end); e != nil {
		s.Logger.Warn("stopped before all was stored; the requests were not answered with success", "error", e)
	}
	s.counts.tell(s.Logger)
	return err
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// serve works on one listener until ctx ends and its requests are done.
func (s *server) serve(ctx context.Context, group *errgroup.Group, i int, on net.Listener) {
	h := &http.Server{
		Handler:           s.handler(s.Listeners[i]),
		ReadHeaderTimeout: s.HeaderTimeout.D(),
		ReadTimeout:       s.HeaderTimeout.D() + s.ReadTimeout.D(),
		WriteTimeout:      s.HeaderTimeout.D() + s.ReadTimeout.D() + s.StoreTimeout.D() + 10*time.Second,
		IdleTimeout:       s.IdleTimeout.D(),
		MaxHeaderBytes:    16 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 32},
		// What clients do wrong below HTTP is theirs: seen when asked for.
		ErrorLog: s.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	group.Go(func() error {
		var err error
		if c := s.certs[i]; c != nil {
			h.TLSConfig = c.server()
			err = h.ServeTLS(on, "", "")
		} else {
			err = h.Serve(on)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve %s: %w", on.Addr(), err)
	})
	group.Go(func() error {
		<-ctx.Done()
		end, done := context.WithTimeout(context.Background(), stopWait)
		defer done()
		if err := h.Shutdown(end); err != nil {
			s.Logger.Warn("requests were still in hand and are not answered", "address", on.Addr().String())
			h.Close()
		}
		return nil
	})
}

// handler is what serves a listener's paths.
func (s *server) handler(l listener) http.Handler {
	mux := http.NewServeMux()
	for _, p := range l.Paths {
		mux.HandleFunc(p.pattern(), func(w http.ResponseWriter, r *http.Request) { s.take(w, r, l, p) })
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		requests, bytes := s.hand.state()
		w.Header().Set("Content-Type", mediaJSON)
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintf(w, `{"status":"ok","inHand":{"requests":%d,"bytes":%d}}`+"\n", requests, bytes)
	})
	return mux
}

// watch reads tokens and certificates again when they change. What cannot be read
// is logged, and what held before goes on to hold.
func (s *server) watch(ctx context.Context) error {
	type watched struct {
		what  string
		files []string
		load  func() error
		stamp string
	}
	var all []*watched
	if len(s.Tokens) > 0 {
		w := &watched{what: "tokens", load: s.tokens.load}
		for _, t := range s.Tokens {
			w.files = append(w.files, t.File)
		}
		all = append(all, w)
	}
	for _, c := range s.certs {
		if c != nil {
			all = append(all, &watched{what: "certificates", files: c.files(), load: c.load})
		}
	}
	ticker := time.NewTicker(s.Reload.D())
	defer ticker.Stop()
	for {
		for _, w := range all {
			// What was read before the first look may be older than it.
			now := filesStamp(w.files)
			if now == w.stamp {
				continue
			}
			begun := w.stamp == ""
			w.stamp = now
			if err := w.load(); err != nil {
				s.Logger.Error("changed "+w.what+" are not taken, the old ones hold", "error", err)
			} else if !begun {
				s.Logger.Info("changed " + w.what + " are taken")
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *server) report(ctx context.Context) error {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.counts.tell(s.Logger)
		case <-ctx.Done():
			return nil
		}
	}
}
