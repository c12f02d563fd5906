package bridge_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// hush is a way to a server that can be made to swallow everything.
type hush struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu     sync.Mutex
	silent chan struct{} // closed once nothing passes any more
	conns  []net.Conn
}

func newHush(t *testing.T, server string) *hush {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hush{listener: l, to: to.Host, silent: make(chan struct{})}
	h.wg.Go(h.accept)
	t.Cleanup(func() {
		l.Close()
		h.mu.Lock()
		for _, c := range h.conns {
			c.Close()
		}
		h.mu.Unlock()
		h.wg.Wait()
	})
	return h
}

func (h *hush) accept() {
	for {
		from, err := h.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", h.to)
		if err != nil {
			from.Close()
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, from, to)
		h.mu.Unlock()
		h.wg.Go(func() { _, _ = io.Copy(quiet{h, to}, from) })
		h.wg.Go(func() { _, _ = io.Copy(quiet{h, from}, to) })
	}
}

// quiet is one direction.
type quiet struct {
	h *hush
	io.Writer
}

func (q quiet) Write(b []byte) (int, error) {
	select {
	case <-q.h.silent:
		return len(b), nil
	default:
		return q.Writer.Write(b)
	}
}

// A connection over which nothing comes any more, and which nobody closes, is given
// up: only then is another server tried.
func TestSilentServer(t *testing.T) {
	server := bridgetest.External(t)
	h := newHush(t, server)
	b := bridgetest.Open(t, func(o *bridge.Options) {
		o.URL, o.Ping = "nats://"+h.listener.Addr().String(), 100*time.Millisecond
	})
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{bridge.ParseConsumer()}); err != nil {
		t.Fatal(err)
	}
	close(h.silent)
	h.listener.Close() // nobody gets there by this way any more
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for b.Connected() {
		select {
		case <-ctx.Done():
			t.Fatal("still connected to a server that is silent")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
