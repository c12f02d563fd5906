package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/bridge/certs"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// patient is how long tests of clusters wait: elections take seconds where the
// machine is busy.
const patient = 2 * time.Minute

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patient); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// member opens a bridge to a server of a cluster.
func member(t *testing.T, s *bridge.Server, name string, replicas int, log hclog.Logger) *bridge.Bridge {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	b, err := bridge.Open(ctx, bridge.Options{Name: name, Server: s, Replicas: replicas, AckWait: 2 * time.Second, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func ensureAll(t *testing.T, nodes ...*bridge.Bridge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var all errgroup.Group
	for _, b := range nodes {
		all.Go(func() error {
			_, err := b.Ensure(ctx, []bridge.Consumer{bridge.ParseConsumer(), bridge.AnalysisConsumer("a")})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func clusterLog(i int) bridge.Item {
	text := fmt.Appendf(nil, "log %d", i)
	return bridge.Item{ID: bridge.NewID(text), Subject: bridge.LogSubject("t", "d"), Body: text}
}

func store(t *testing.T, b *bridge.Bridge, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	for i := from; i < to; i++ {
		if err := b.Publish(ctx, clusterLog(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// take consumes until all logs up to n came.
func take(t *testing.T, b *bridge.Bridge, n int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patient)
	defer stop()
	var mu sync.Mutex
	got := map[string]bool{}
	err := b.Consume(ctx, bridge.Work{Consumer: bridge.ParseConsumer(), Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
		mu.Lock()
		defer mu.Unlock()
		if got[string(it.Body)] = true; len(got) == n {
			stop()
		}
		return nil, nil
	}})
	if err != nil || len(got) != n {
		t.Errorf("%d of %d logs came: %v", len(got), n, err)
	}
}

// Three nodes that start one after the other, with TLS, become one cluster; all
// make the streams at once. What is stored outlives the loss of any one server,
// and a restart of all.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, true, nil)
	var log logbuffer.Buffer
	first := c.Start(0)
	opened := make(chan *bridge.Bridge, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		b, err := bridge.Open(ctx, bridge.Options{Name: "n1", Server: first, Replicas: 3, Logger: log.Logger()})
		if err != nil {
			t.Error(err)
		}
		opened <- b
	}()
	eventually(t, "the first says for whom it waits", func() bool { return log.Has("1 of 3 servers known (n1); no answer from 127.0.0.1:") })
	second, third := c.Start(1), c.Start(2)
	one := <-opened
	if one == nil {
		t.FailNow()
	}
	t.Cleanup(one.Close)
	two, three := member(t, second, "n2", 3, nil), member(t, third, "n3", 3, nil)
	ensureAll(t, one, two, three)
	states, _, err := two.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Replicas != 3 {
			t.Errorf("%s has %d replicas", s.Name, s.Replicas)
		}
	}
	if line, err := one.Durability(t.Context(), nil); err != nil || !strings.Contains(line, "the loss of 1 of them") {
		t.Errorf("durability: %q, %v", line, err)
	}
	store(t, one, 0, 20)
	three.Close()
	c.Stop(2)
	store(t, two, 20, 40)
	two.Close()
	one.Close()
	c.Stop(0)
	c.Stop(1)

	servers := c.StartAll()
	again := member(t, servers[2], "n3", 3, nil) // which was not there for the last twenty
	ensureAll(t, again)
	take(t, again, 40)
}

// A server that was away is seen to lack what was stored meanwhile, until it has it
// and can stand for the others.
func TestStaleCopies(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, false, nil)
	servers := c.StartAll()
	one := member(t, servers[0], "n1", 3, nil)
	ensureAll(t, one)
	store(t, one, 0, 50)
	// all reports whether ok holds for all streams.
	all := func(ok func(bridge.StreamState) bool) func() bool {
		return func() bool {
			states, _, err := one.State(t.Context())
			return err == nil && !slices.ContainsFunc(states, func(s bridge.StreamState) bool { return !ok(s) })
		}
	}
	whole := func(s bridge.StreamState) bool { return s.Replicas == 3 && len(s.Stale)+s.Missing == 0 }
	eventually(t, "all copies are whole", all(whole))
	c.Stop(2)
	eventually(t, "all copies of the third are away, and no others", all(func(s bridge.StreamState) bool {
		return len(s.Stale) == 1 && s.Stale[0].Server == "n3" && s.Stale[0].Away
	}))
	store(t, one, 50, 100)
	three := member(t, c.Start(2), "n3", 3, nil)
	eventually(t, "all copies are whole again", all(whole))
	one.Close()
	c.Stop(0)
	take(t, three, 100)
	store(t, three, 100, 120)
	take(t, three, 20)
}

// Who begins to take while the cluster can decide nothing is given no answer, and
// takes as soon as it can.
func TestConsumeWithoutLeader(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, false, nil)
	servers := c.StartAll()
	var log logbuffer.Buffer
	at := member(t, servers[2], "n3", 3, log.Logger())
	ensureAll(t, at)
	store(t, at, 0, 10)
	c.Stop(0)
	c.Stop(1)
	js, err := jetstream.New(servers[2].Bare(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(js.Conn().Close)
	// One that was the leader answers for as long as it does not know better.
	eventually(t, "nobody answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.Consumer(ctx, bridge.StreamLog, bridge.ParseConsumer().Name())
		return err != nil
	})
	var took sync.WaitGroup
	defer took.Wait()
	took.Go(func() { take(t, at, 10) })
	eventually(t, "it asks in vain", func() bool { return log.Has("cannot ask for the consumer") })
	c.Start(0)
}

// A cluster that is too small for the replicas is waited for, and streams that
// have fewer get them.
func TestReplicasAreRaised(t *testing.T) {
	t.Parallel()
	c := bridgetest.NewCluster(t, 3, false, func(_ int, o *bridge.ServerOptions) { o.Cluster.Routes = o.Cluster.Routes[:2] })
	servers := []*bridge.Server{c.Start(0), c.Start(1)}
	low := member(t, servers[0], "n1", 1, nil)
	ensureAll(t, low)
	store(t, low, 0, 10)
	var log logbuffer.Buffer
	high := member(t, servers[1], "n2", 3, log.Logger())
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	go func() {
		_, err := high.Ensure(ctx, []bridge.Consumer{bridge.ParseConsumer()})
		done <- err
	}()
	eventually(t, "it says that servers are missing", func() bool {
		select {
		case err := <-done:
			t.Fatalf("it does not wait: %v\n%s", err, log.String())
		default:
		}
		return log.Has("2 of 2 servers known (n1, n2)")
	})
	c.Start(2)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ensureAll(t, low) // whose setting is less, and takes nothing away
	states, _, err := high.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Replicas != 3 {
			t.Errorf("%s has %d replicas", s.Name, s.Replicas)
		}
	}
	take(t, high, 10)
}

// A server with a certificate of another CA does not join, and the others say
// nothing to one without.
func TestStrangersStayOut(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	if _, err := certs.MakeCA(other, "other", time.Hour, false); err != nil {
		t.Fatal(err)
	}
	c := bridgetest.NewCluster(t, 3, true, func(i int, o *bridge.ServerOptions) {
		switch i {
		case 1:
			o.Cluster.TLS = bridgetest.Certificate(t, other, "n2", "127.0.0.1")
		case 2:
			o.Cluster.TLS = bridge.TLSFiles{}
		}
	})
	servers := c.StartAll()
	for i, s := range servers {
		var log logbuffer.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			b, err := bridge.Open(ctx, bridge.Options{Name: "n", Server: s, Logger: log.Logger()})
			if err == nil {
				b.Close()
			}
			done <- err
		}()
		eventually(t, "it says that the others do not join", func() bool {
			return log.Has(fmt.Sprintf("1 of 3 servers known (n%d); all seeds answer", i+1))
		})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("n%d: %v", i+1, err)
		}
	}
}

func TestPlainRoutesBeyondThisMachineAreRefused(t *testing.T) {
	for name, o := range map[string]bridge.ClusterOptions{
		"listen": {Listen: ":0", Routes: []string{"127.0.0.1:1"}},
		"route":  {Listen: "127.0.0.1:0", Routes: []string{"node-1:6222"}},
	} {
		for _, insecure := range []bool{false, true} {
			o.Name, o.Insecure = "test", insecure
			s, err := bridge.StartServer(bridge.ServerOptions{Name: "n", Dir: t.TempDir(), MaxPayload: 1 << 20, Cluster: o})
			if err == nil {
				s.Shutdown()
			}
			if refused := err != nil && strings.Contains(err.Error(), "need TLS"); refused == insecure {
				t.Errorf("%s, insecure %v: %v", name, insecure, err)
			}
		}
	}
}
