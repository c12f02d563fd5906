package bridge_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// durability checks what Durability says: a line that has all of want, or where
// refused an error that has.
func durability(t *testing.T, b *bridge.Bridge, refused bool, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	line, err := b.Durability(ctx, nil)
	if errors.Is(err, bridge.ErrDurability) != refused || err != nil && !refused {
		t.Errorf("%q, %v; want it refused: %v", line, err, refused)
		return
	}
	if refused {
		line = err.Error()
	}
	for _, w := range want {
		if !strings.Contains(line, w) {
			t.Errorf("%q does not say %q", line, w)
		}
	}
}

func bare(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// What is asked for is said to be kept, and a stream that is not on disk, or has
// too few copies, is refused by its name, whichever it is.
func TestDurabilityOfStreams(t *testing.T) {
	t.Parallel()
	server := bridgetest.ServerIn(t, t.TempDir(), 0)
	open := func(s bridge.Survive) *bridge.Bridge {
		return bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.Survive = server, s })
	}
	all, none := open(bridge.Survive{Crash: true, PowerLoss: true}), open(bridge.Survive{})
	ensure(t, all)
	durability(t, all, false, "survives a crash and a power loss", "asks for crash, power-loss, and that is kept")
	durability(t, open(bridge.Survive{ServerLoss: true}), true, "stream EPMESH_LOG has 1 of the 3 replicas", "set nats.replicas: 3")

	js := bare(t, server.Bare(t))
	change := func(name string, how func(*jetstream.StreamConfig)) {
		t.Helper()
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		how(&cfg)
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	change(bridge.StreamAlert, func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode })
	durability(t, all, true, "stream EPMESH_ALERT is written after the Ack", "nats stream rm EPMESH_ALERT")
	change(bridge.StreamAlert, func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.DefaultPersistMode })
	change("KV_EPMESH_LEASE", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage })
	durability(t, all, true, "stream KV_EPMESH_LEASE is kept in memory, and crash, power-loss is asked for")
	durability(t, none, false, "but stream KV_EPMESH_LEASE is kept in memory")
	if _, err := all.Ensure(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "nats stream rm KV_EPMESH_LEASE") {
		t.Errorf("Ensure of a stream in memory: %v", err)
	}
}

// In a cluster three copies are what the loss of a server takes, of each stream.
func TestDurabilityOfReplicas(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, false, func(_ int, o *bridge.ServerOptions) { o.SyncInterval = 0 })
	servers := c.StartAll()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	b, err := bridge.Open(ctx, bridge.Options{Name: "n1", Server: servers[0], Replicas: 3, Survive: bridge.Survive{PowerLoss: true, ServerLoss: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ensureAll(t, b)
	durability(t, b, false, "the loss of 1 of them and a power loss of all", "asks for power-loss, server-loss, and that is kept")
	js := bare(t, servers[1].Bare(t))
	eventually(t, "a stream is given fewer copies", func() bool {
		s, err := js.Stream(ctx, bridge.StreamEvent)
		if err != nil {
			return false
		}
		cfg := s.CachedInfo().Config
		cfg.Replicas = 1
		_, err = js.UpdateStream(ctx, cfg)
		return err == nil
	})
	durability(t, b, true, "stream EPMESH_EVENT has 1 of the 3 replicas")
}

// An external server cannot be asked when it syncs: the line says whose word it is.
func TestDurabilityOfAnExternalServer(t *testing.T) {
	t.Parallel()
	url := bridgetest.External(t)
	for word, want := range map[string]string{"": "their sync_interval's to say", "always": "so that it survives a power loss: that is the operator's word", "2m": "sync every 2m"} {
		b := bridgetest.Open(t, func(o *bridge.Options) { o.URL, o.ExternalSync, o.Survive.Crash = url, word, true })
		ensure(t, b)
		durability(t, b, false, want, "asks for crash")
	}
}

// A node knows its own server only; the others say how theirs sync. One that is
// not known contradicts nothing, and neither does one that said so and is gone.
func TestDurabilityOfOtherNodes(t *testing.T) {
	t.Parallel()
	synced, late := bridgetest.ServerIn(t, t.TempDir(), 0), bridgetest.ServerIn(t, t.TempDir(), time.Minute)
	asks := bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.Server, o.Survive.PowerLoss = "n1", synced, true })
	plain := bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.Server = "n3", synced })
	careless := bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.Server = "n1", late })
	ensure(t, asks)
	ensure(t, careless)
	said := func(b *bridge.Bridge, p bridge.Presence, lasts time.Duration) {
		t.Helper()
		if err := b.Announce(t.Context(), p, lasts); err != nil {
			t.Fatal(err)
		}
	}
	durability(t, asks, false, "that is kept")
	said(asks, bridge.Presence{Node: "n1", Sync: "2m0s"}, time.Hour) // itself, with what it was before
	said(asks, bridge.Presence{Node: "n4", Sync: "always"}, time.Hour)
	said(asks, bridge.Presence{Node: "n5"}, time.Hour)
	said(asks, bridge.Presence{Node: "n2", Sync: "2m0s"}, 8*time.Second) // which is never said again
	durability(t, plain, false, "the server of node n2 syncs every 2m0s")
	durability(t, asks, false, "that is kept")

	again := func(b *bridge.Bridge, p bridge.Presence) (stop func()) {
		said(b, p, time.Hour) // it is known from now on
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				_ = b.Announce(ctx, p, time.Hour)
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
		return func() { cancel(); <-done }
	}
	stop := again(asks, bridge.Presence{Node: "n2", Sync: "2m0s"})
	durability(t, asks, true, "the server of node n2 syncs every 2m0s: set nats.sync: always there")
	stop()
	stop = again(careless, bridge.Presence{Node: "n2", Sync: "always", PowerLoss: true})
	durability(t, careless, true, "node n2 asks for power-loss, and this node's nats.sync is 1m0s: set nats.sync: always here")
	stop()
}

// Of two nodes that start at the same moment and contradict each other not both
// run.
func TestDurabilityOfNodesThatStartAtOnce(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, false, func(i int, o *bridge.ServerOptions) {
		if o.SyncInterval = 0; i == 1 {
			o.SyncInterval = time.Minute
		}
	})
	servers := c.StartAll()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	type start struct {
		b   *bridge.Bridge
		say func(context.Context) error
	}
	var starts []start
	for i, name := range []string{"n1", "n2"} {
		b, err := bridge.Open(ctx, bridge.Options{Name: name, Server: servers[i], Replicas: 3, Survive: bridge.Survive{PowerLoss: i == 0}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		ensureAll(t, b)
		p := bridge.Presence{Node: name, Sync: b.Sync(), PowerLoss: i == 0}
		starts = append(starts, start{b, func(ctx context.Context) error { return b.Announce(ctx, p, 5*time.Second) }})
	}
	var both errgroup.Group
	errs := make([]error, 2)
	running, stop := context.WithCancel(ctx)
	for i, s := range starts {
		both.Go(func() error {
			_, errs[i] = s.b.Durability(ctx, s.say)
			if errs[i] != nil {
				stop()
				return nil
			}
			for running.Err() == nil { // one that runs says so
				_ = s.say(ctx)
				select {
				case <-time.After(20 * time.Millisecond):
				case <-running.Done():
				}
			}
			return nil
		})
	}
	_ = both.Wait()
	stop()
	if !errors.Is(errs[0], bridge.ErrDurability) && !errors.Is(errs[1], bridge.ErrDurability) {
		t.Errorf("n1: %v, n2: %v", errs[0], errs[1])
	}
}
