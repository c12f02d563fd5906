package bridge_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/bridge/certs"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// edge is an edge node of a test, as far as the bridge goes.
type edge struct {
	*bridge.Bridge
	hub   *bridge.Hub
	log   *logbuffer.Buffer
	stats map[string]*bridge.Stats
	stop  func()
}

// startEdge starts one over dir, whose hub is at the URLs.
func startEdge(t *testing.T, dir string, urls ...string) *edge {
	t.Helper()
	return startEdgeTLS(t, dir, bridge.TLSFiles{}, urls...)
}

func startEdgeTLS(t *testing.T, dir string, files bridge.TLSFiles, urls ...string) *edge {
	t.Helper()
	e := &edge{log: new(logbuffer.Buffer), stats: map[string]*bridge.Stats{}}
	log := hclog.New(&hclog.LoggerOptions{Output: e.log, Level: hclog.Info})
	srv, err := bridge.StartServer(bridge.ServerOptions{
		Name: "edge-1", Dir: filepath.Join(dir, "nats"), SyncInterval: time.Minute, MaxPayload: 8 << 20,
		Leaf: bridge.LeafOptions{URLs: urls, TLS: files}, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Bridge, err = bridge.Open(t.Context(), bridge.Options{Name: "edge-1", Server: srv, AckWait: 2 * time.Second, BatchBytes: 4 << 20, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if orphans, err := e.Ensure(t.Context(), bridge.ForwardConsumers()); err != nil || len(orphans) > 0 {
		t.Fatalf("orphans %v: %v", orphans, err)
	}
	if e.hub, err = e.OpenHub(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = e.hub.Serve(ctx) })
	for _, c := range bridge.ForwardConsumers() {
		stats := new(bridge.Stats)
		e.stats[c.Name()] = stats
		parts.Go(func() {
			if err := e.hub.Forward(ctx, bridge.Work{Consumer: c, Stats: stats, Drain: time.Second}); err != nil {
				t.Error(err)
			}
		})
	}
	e.stop = sync.OnceFunc(func() { cancel(); parts.Wait(); e.hub.Close(); e.Close(); srv.Shutdown() })
	t.Cleanup(e.stop)
	return e
}

// waiting is how much the edge still has for the hub.
func (e *edge) waiting(t *testing.T) int {
	t.Helper()
	_, pending, err := e.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range pending {
		n += int(p.Messages) + p.Unacked
	}
	return n
}

// worker opens a bridge to the hub, as a node there does.
func worker(t *testing.T, h *bridgetest.Hub) *bridge.Bridge {
	t.Helper()
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = h.URL() })
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{bridge.ParseConsumer(), bridge.NotificationConsumer("n", nil, nil)}); err != nil {
		t.Fatal(err)
	}
	return b
}

// all consumes until n different items have come, and then what else comes
// until nothing waits; it returns the items by their body, and how many came.
func all(t *testing.T, b *bridge.Bridge, c bridge.Consumer, n int) (items map[string]bridge.Item, came int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patient)
	defer stop()
	var mu sync.Mutex
	items = map[string]bridge.Item{}
	err := b.Consume(ctx, bridge.Work{Consumer: c, Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
		mu.Lock()
		defer mu.Unlock()
		items[string(it.Body)], came = it, came+1
		if len(items) == n {
			stop()
		}
		return nil, nil
	}})
	if err != nil || len(items) != n {
		t.Fatalf("%d of %d items came: %v", len(items), n, err)
	}
	return items, came
}

// What an edge has stored comes to the hub as it was, with its id and the time
// at which it came in, and the edge keeps none of it.
func TestEdgeForwards(t *testing.T) {
	hub := bridgetest.NewHub(t, "edge-1", nil)
	at := worker(t, hub)
	e := startEdge(t, t.TempDir(), hub.EdgeURL())
	const n = 500
	items := make([]bridge.Item, n)
	for i := range items {
		items[i] = clusterLog(i)
		items[i].Received = int64(1000 + i)
	}
	if err := e.Publish(t.Context(), items...); err != nil {
		t.Fatal(err)
	}
	note := bridge.Item{ID: bridge.NewID([]byte("note")), Subject: bridge.MessageSubject("topic"), Body: []byte("note")}
	if err := e.Publish(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	got, came := all(t, at, bridge.ParseConsumer(), n)
	if came != n {
		t.Errorf("%d logs came, for %d", came, n)
	}
	for _, want := range items {
		if it := got[string(want.Body)]; it.ID != want.ID || it.Received != want.Received || it.Subject != want.Subject {
			t.Fatalf("sent %+v, came %+v", want, it)
		}
	}
	if got, _ := all(t, at, bridge.NotificationConsumer("n", nil, nil), 1); got["note"].ID != note.ID {
		t.Errorf("messages: %v", got)
	}
	eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 && e.stats["forward"].Snapshot().InFlight == 0 })
	if c := e.stats["forward"].Snapshot(); c.In != n || c.Out != n {
		t.Errorf("counts: %+v", c)
	}
	streams, _, err := e.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		if s.Messages > 0 {
			t.Errorf("the edge keeps %d messages in %s", s.Messages, s.Name)
		}
	}
	if st := e.hub.Status(); !st.Up || st.Server != "hub" || st.Reason != "" {
		t.Errorf("status: %+v", st)
	}
	line, err := e.Durability(t.Context(), nil)
	if err != nil || !strings.Contains(line, "this edge's") || !strings.Contains(line, "goes on to the hub") {
		t.Errorf("durability %q: %v", line, err)
	}
}

// While the hub is away an edge stores, and says so once. When the hub is back,
// all of it goes there, once, also where the edge was started again meanwhile.
func TestEdgeKeepsWhileTheHubIsAway(t *testing.T) {
	hub := bridgetest.NewHub(t, "edge-1", nil)
	worker(t, hub).Close()
	dir := t.TempDir()
	e := startEdge(t, dir, hub.EdgeURL())
	store(t, e.Bridge, 0, 20)
	eventually(t, "all has gone to the hub", func() bool { return e.waiting(t) == 0 })
	hub.Stop()
	eventually(t, "the edge sees that the hub is away", func() bool { return !e.hub.Status().Up })
	store(t, e.Bridge, 20, 300)
	if w := e.waiting(t); w == 0 {
		t.Error("nothing waits")
	}
	eventually(t, "it says why", func() bool { return strings.Contains(e.hub.Status().Reason, "refused") })
	e.stop()
	if n := e.log.Count("link to the hub is down"); n != 1 {
		t.Errorf("it was said %d times that the link is down:\n%s", n, e.log)
	}

	e = startEdge(t, dir, hub.EdgeURL())
	store(t, e.Bridge, 300, 400)
	eventually(t, "it says that there is no hub", func() bool { return e.log.Has("link to the hub is down") })
	hub.Start()
	at := worker(t, hub)
	if _, came := all(t, at, bridge.ParseConsumer(), 400); came != 400 {
		t.Errorf("%d logs came, for 400", came)
	}
	eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 })
	if up, down := e.log.Count("link to the hub is up"), e.log.Count("link to the hub is down"); up != 1 || down != 1 {
		t.Errorf("it was said %d times that the link is up, %d times that it is down:\n%s", up, down, e.log)
	}
}

// What is sent twice, as after an answer that got lost, is one message at the hub.
func TestEdgeRepeatsUnderTheSameId(t *testing.T) {
	hub := bridgetest.NewHub(t, "edge-1", nil)
	at := worker(t, hub)
	e := startEdge(t, t.TempDir(), hub.EdgeURL())
	// The hub has them, and the edge does not know.
	store(t, at, 0, 50)
	store(t, e.Bridge, 0, 50)
	eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 })
	streams, _, err := at.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if streams[0].Name != bridge.StreamLog || streams[0].Messages != 50 {
		t.Errorf("the hub has %+v", streams[0])
	}
}

// A hub that takes less in one message than the edge gets more messages, and
// what fits none is a dead letter at the edge. The link lives on.
func TestEdgeCutsWhatTheHubDoesNotTake(t *testing.T) {
	hub := bridgetest.NewHub(t, "edge-1", func(o *server.Options) { o.MaxPayload = 64 << 10 })
	at := worker(t, hub)
	e := startEdge(t, t.TempDir(), hub.EdgeURL())
	var items []bridge.Item
	for i := range 20 {
		body := bytes.Repeat([]byte{byte('a' + i)}, 20<<10)
		items = append(items, bridge.Item{ID: bridge.NewID(body), Subject: bridge.LogSubject("t", "d"), Body: body})
	}
	body := bytes.Repeat([]byte("x"), 100<<10)
	items = append(items, bridge.Item{ID: bridge.NewID(body), Subject: bridge.LogSubject("t", "d"), Body: body})
	if err := e.Publish(t.Context(), items...); err != nil {
		t.Fatal(err)
	}
	got, came := all(t, at, bridge.ParseConsumer(), 20)
	if came != 20 {
		t.Errorf("%d logs came, for 20", came)
	}
	for _, it := range items[:20] {
		if got[string(it.Body)].ID != it.ID {
			t.Errorf("%s came under another id, or not", it.ID)
		}
	}
	eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 })
	var reasons []string
	if err := e.DeadLetters(t.Context(), bridge.DeadFilter{}, func(d bridge.DeadLetter) bool { reasons = append(reasons, d.Reason); return true }); err != nil {
		t.Fatal(err)
	}
	if len(reasons) != 1 || !strings.Contains(reasons[0], "raise max_payload") {
		t.Errorf("dead letters: %q", reasons)
	}
	if st := e.hub.Status(); st.Losses > 0 {
		t.Errorf("the link was lost: %+v", st)
	}
}

// A hub that lets the edge in and does not take its logs is told of once, with
// what to do; so is one that does not let it in.
func TestEdgeSaysWhyNothingGoes(t *testing.T) {
	hub := bridgetest.NewHub(t, "another", nil) // the edge may not hear its answers
	e := startEdge(t, t.TempDir(), hub.EdgeURL())
	store(t, e.Bridge, 0, 3)
	eventually(t, "no node has made the streams", func() bool { return strings.Contains(e.hub.Status().Reason, "nobody at the hub takes epmesh.log") })
	worker(t, hub)
	eventually(t, "the answer is missed", func() bool { return strings.Contains(e.hub.Status().Reason, "subscribe to epmesh.edge.edge-1.>") })
	if n := e.log.Count("does not store"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, e.log)
	}
	e.stop()

	refused := startEdge(t, t.TempDir(), strings.Replace(hub.EdgeURL(), ":e@", ":wrong@", 1))
	store(t, refused.Bridge, 0, 3)
	eventually(t, "it is refused", func() bool { return strings.Contains(refused.hub.Status().Reason, "Authorization") })
	eventually(t, "it is said", func() bool { return refused.log.Has("link to the hub is down") })
	if refused.log.Has("wrong") || refused.log.Count("\n") > 3 {
		t.Errorf("the log:\n%s", refused.log)
	}
}

// The hub's side of the permissions: an edge's user may send logs and messages,
// and neither look nor change anything, nor hear the answers of others.
func TestEdgeMayOnlySend(t *testing.T) {
	hub := bridgetest.NewHub(t, "edge-1", nil)
	at := worker(t, hub)
	e := startEdge(t, t.TempDir(), hub.EdgeURL())
	store(t, e.Bridge, 0, 1)
	eventually(t, "the link works", func() bool { return e.waiting(t) == 0 })
	nc := e.hub.Conn()
	for _, subject := range []string{"$JS.API.INFO", "$JS.API.STREAM.PURGE." + bridge.StreamLog, "epmesh.control.status", "epmesh.event.t.d"} {
		if m, err := nc.Request(subject, nil, time.Second); err == nil {
			t.Errorf("an edge got an answer on %s: %s", subject, m.Data)
		}
	}
	heard := make(chan *nats.Msg, 10)
	for _, subject := range []string{"_INBOX.>", "epmesh.>", ">"} {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	store(t, at, 100, 101)
	if _, _, err := at.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What the edge may hear comes after what it might have heard.
	store(t, e.Bridge, 101, 102)
	eventually(t, "the link works", func() bool { return e.waiting(t) == 0 })
	for len(heard) > 0 {
		m := <-heard
		if !strings.HasPrefix(m.Subject, bridge.EdgeInbox("edge-1")) && !strings.Contains(string(m.Data), "log 101") && !isOwn(m) {
			t.Errorf("an edge heard %s: %.80q", m.Subject, m.Data)
		}
	}
}

// isOwn reports whether a message is one that the edge sent itself.
func isOwn(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, bridge.EdgeInbox("edge-1")) }

func TestLeafRefusesPlainText(t *testing.T) {
	for url, want := range map[string]string{
		"nats-leaf://u:secret@hub.example:7422": "plain text",
		"nats-leaf://u:sec ret@":                "not a URL",
	} {
		_, err := bridge.StartServer(bridge.ServerOptions{Name: "e", Dir: t.TempDir(), MaxPayload: 1 << 20, Leaf: bridge.LeafOptions{URLs: []string{url}}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sec") && strings.Contains(err.Error(), "ret") {
			t.Errorf("%v", err)
		}
	}
}

// Both sides show certificates, and the edge sends nothing to a server of another
// CA.
func TestEdgeOverTLS(t *testing.T) {
	ours, theirs := t.TempDir(), t.TempDir()
	for _, dir := range []string{ours, theirs} {
		if _, err := certs.MakeCA(dir, "test", time.Hour, false); err != nil {
			t.Fatal(err)
		}
	}
	hubTLS := bridgetest.Certificate(t, ours, "hub", "127.0.0.1")
	edgeTLS := bridgetest.Certificate(t, ours, "edge-1")
	stranger := bridgetest.Certificate(t, theirs, "edge-1")
	config, err := hubTLS.Mutual()
	if err != nil {
		t.Fatal(err)
	}
	hub := bridgetest.NewHub(t, "edge-1", func(o *server.Options) {
		o.LeafNode.TLSConfig, o.LeafNode.TLSTimeout = config, 10
	})
	worker(t, hub)
	for name, files := range map[string]bridge.TLSFiles{"ours": edgeTLS, "theirs": stranger} {
		t.Run(name, func(t *testing.T) {
			log := new(logbuffer.Buffer)
			srv, err := bridge.StartServer(bridge.ServerOptions{
				Name: "edge-1", Dir: t.TempDir(), SyncInterval: time.Minute, MaxPayload: 1 << 20, Logger: log.Logger(),
				Leaf: bridge.LeafOptions{URLs: []string{hub.EdgeURL()}, TLS: files},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(srv.Shutdown)
			b := bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.Server = "edge-1", srv })
			h, err := b.OpenHub()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- h.Serve(ctx) }()
			if name == "ours" {
				eventually(t, "the link is up", func() bool { return h.Status().Up })
			} else {
				eventually(t, "the link is refused", func() bool { return strings.Contains(h.Status().Reason, "certificate") })
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			h.Close()
		})
	}
}
