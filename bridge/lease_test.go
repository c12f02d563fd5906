package bridge_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// leases runs a node's leases until the returned function is called, or the test
// ends.
func leases(t *testing.T, b *bridge.Bridge, ttl time.Duration) (l *bridge.Leases, stop func()) {
	t.Helper()
	if _, err := b.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	l = b.Leases(bridge.LeaseOptions{TTL: ttl})
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := l.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); served.Wait() }
	t.Cleanup(stop)
	return l, stop
}

func acquire(t *testing.T, l *bridge.Leases, name string) *bridge.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lease, err := l.Acquire(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func waitUntil(t *testing.T, l *bridge.Leases, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for changed := l.Changes(); !ok(); changed = l.Changes() {
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A name passes from node to node as it is released, or as the node stops.
func TestLeasePasses(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		node := func(name string) *bridge.Bridge { return open(func(o *bridge.Options) { o.Name = name }) }
		// Not renewed within the test's time: what passes does so by itself.
		a, stopA := leases(t, node("a"), time.Hour)
		b, _ := leases(t, node("b"), time.Hour)
		first := acquire(t, a, "singleton.x y/z")
		if !first.Valid() || time.Until(first.Until()) < 50*time.Minute {
			t.Errorf("valid %t until %s", first.Valid(), first.Until())
		}
		a.Offer("one")
		a.Offer("two")
		waitUntil(t, b, "the other's offers are seen", func() bool {
			peers, ok := b.Peers()
			return ok && len(peers) == 2 && peers[0].Node == "a" && slices.Equal(peers[0].Offers, []string{"one", "two"})
		})
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		for _, l := range []*bridge.Leases{a, b} {
			if again, err := l.Acquire(short, first.Name()); err == nil {
				t.Errorf("held twice, under epochs %d and %d", first.Epoch(), again.Epoch())
			}
		}
		first.Release(t.Context())
		if first.Valid() || first.Context().Err() == nil {
			t.Error("valid after it was released")
		}
		second := acquire(t, b, first.Name())
		if second.Epoch() <= first.Epoch() {
			t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}
		first.Release(t.Context()) // which does nothing
		waitUntil(t, a, "the holder is seen", func() bool {
			h := a.Holders()
			return len(h) == 1 && h[0] == bridge.Holder{Name: first.Name(), Node: "b", Epoch: second.Epoch()}
		})
		second.Release(t.Context())
		third := acquire(t, a, first.Name())
		stopA()
		if third.Valid() {
			t.Error("valid after its node stopped")
		}
		if last := acquire(t, b, first.Name()); last.Epoch() <= third.Epoch() {
			t.Errorf("epoch %d after %d", last.Epoch(), third.Epoch())
		}
	})
}

// proxy stands between a client and its server, and can stop passing anything on
// without ending a connection.
type proxy struct {
	addr string

	mu   sync.Mutex
	flow chan struct{} // closed while it passes things on
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), flow: make(chan struct{})}
	close(p.flow)
	end := make(chan struct{})
	var all sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			p.mu.Lock()
			flow := p.flow
			p.mu.Unlock()
			select {
			case <-flow:
			case <-end:
				return
			}
			if err != nil {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var mu sync.Mutex
	var open []io.Closer
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			all.Go(func() { pass(out, in) })
			all.Go(func() { pass(in, out) })
		}
	})
	t.Cleanup(func() {
		close(end)
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow = make(chan struct{})
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.flow)
}

// A node that is cut off knows that it holds nothing any more before another
// holds it, and comes back under a new epoch.
func TestLeasePartition(t *testing.T) {
	url := bridgetest.External(t)
	p := newProxy(t, url[len("nats://"):])
	cut, _ := leases(t, bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.URL = "cut", "nats://"+p.addr }), 1500*time.Millisecond)
	well, _ := leases(t, bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.URL = "well", url }), 1500*time.Millisecond)
	first := acquire(t, cut, "x")
	var tenures []*bridge.Lease
	for range 2 {
		p.cut()
		second := acquire(t, well, "x")
		if first.Valid() {
			t.Error("two hold it")
		}
		if second.Epoch() <= first.Epoch() {
			t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}
		tenures = append(tenures, first, second)
		p.mend()
		second.Release(t.Context())
		first = acquire(t, cut, "x")
		if first.Epoch() <= second.Epoch() {
			t.Errorf("epoch %d after %d", first.Epoch(), second.Epoch())
		}
	}
	for _, l := range tenures {
		if l.Valid() {
			t.Errorf("epoch %d came to life again", l.Epoch())
		}
	}
	if cut.Losses() < 2 {
		t.Errorf("%d losses", cut.Losses())
	}
}

// A server that is started again has kept who held what: it passes on under a
// higher epoch, once its time is over.
func TestLeaseOutlivesServer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	srv := stateServer(t, dir, addr)
	node := func(name string) *bridge.Bridge {
		return bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.Server = name, srv })
	}
	// Of the server's process, which ends with it.
	before, _ := leases(t, node("before"), 1500*time.Millisecond)
	first := acquire(t, before, "x")
	srv.Shutdown()
	<-first.Context().Done()

	srv = stateServer(t, dir, addr)
	after, _ := leases(t, node("after"), 1500*time.Millisecond)
	second := acquire(t, after, "x")
	if first.Valid() || second.Epoch() <= first.Epoch() {
		t.Errorf("valid %t, epoch %d after %d", first.Valid(), second.Epoch(), first.Epoch())
	}
}
