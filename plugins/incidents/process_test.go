package incidents

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// natsServer is an embedded server as a node runs it.
type natsServer struct {
	tb   testing.TB
	dir  string
	sync time.Duration
	srv  *bridge.Server
	b    *bridge.Bridge
}

func startServer(tb testing.TB, sync time.Duration) *natsServer {
	tb.Helper()
	s := &natsServer{tb: tb, dir: tb.TempDir(), sync: sync}
	s.start()
	tb.Cleanup(func() { s.stop() })
	return s
}

func (s *natsServer) start() {
	s.tb.Helper()
	var err error
	s.srv, err = bridge.StartServer(bridge.ServerOptions{
		Name: "test", Dir: s.dir, Listen: "127.0.0.1:0", SyncInterval: s.sync, MaxPayload: 8 << 20,
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	if s.b, err = bridge.Open(context.Background(), bridge.Options{Name: "test", Server: s.srv}); err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.b.Ensure(context.Background(), nil); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *natsServer) stop() {
	s.b.Close()
	s.srv.Shutdown()
}

// tell writes the access file of a work dir, as the node does.
func (s *natsServer) tell(dir string) {
	s.tb.Helper()
	if err := bridge.WriteStateAccess(filepath.Join(dir, "run", "state.json"), s.srv.StateAccess()); err != nil {
		s.tb.Fatal(err)
	}
}

// host is a node's place: a work dir with an engine, and the plugin's process,
// which is started again whenever it ends.
type host struct {
	engine *enginetest.Engine
	client pb.CorrelationClient
	starts atomic.Int64

	mu  sync.Mutex
	cmd *exec.Cmd
}

func startHost(tb testing.TB, s *natsServer, settings string) *host {
	tb.Helper()
	h := &host{engine: enginetest.New(tb, shortdir.New(tb))}
	s.tell(h.engine.Dir)
	conn, err := grpc.NewClient("unix://"+filepath.Join(h.engine.Dir, "sockets", "inc_correlation.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}}))
	if err != nil {
		tb.Fatal(err)
	}
	h.client = pb.NewCorrelationClient(conn)
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), asPlugin+"="+h.engine.Dir, "EPMESH_TEST_SETTINGS="+settings, "NATS_URL=")
			cmd.Stderr = os.Stderr
			h.mu.Lock()
			err := cmd.Start()
			h.cmd = cmd
			h.mu.Unlock()
			if err != nil {
				tb.Error(err)
				return
			}
			h.starts.Add(1)
			_ = cmd.Wait() // killed, mostly
		}
	})
	tb.Cleanup(func() {
		stop()
		h.kill()
		running.Wait()
		conn.Close()
	})
	return h
}

func (h *host) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		_ = h.cmd.Process.Kill()
	}
}

func number(tb testing.TB, name string, standard int) int {
	tb.Helper()
	v := os.Getenv(name)
	if v == "" {
		return standard
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return n
}

// Several plugin processes on one server work on the same alerts, each of which
// comes more than once, while any of them is killed at any time, and the server
// is started anew. What leaves is held against what was sent, without a look at
// the state. EPMESH_ROUNDS makes it so many times longer.
func TestProcessesUnderKill(t *testing.T) {
	seed := uint64(number(t, "EPMESH_SEED", int(time.Now().UnixNano())))
	t.Logf("EPMESH_SEED=%d", seed)
	const nodes, inFlight = 4, 64
	rounds := number(t, "EPMESH_ROUNDS", 1)
	total := 1200 * rounds
	s := startServer(t, time.Minute)
	hosts := make([]*host, nodes)
	for n := range hosts {
		hosts[n] = startHost(t, s, `{"closeAfter":"1000h","maxOpen":"1000h"}`)
	}

	alerts := make([]*pb.Alert, total)
	for n := range alerts {
		a := alert(fmt.Sprint("a", n), fmt.Sprint("ip", n%7))
		a.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
		a.Severity = ranks[n%len(ranks)]
		switch n % 3 {
		case 1:
			a.DeduplicateBy, a.Target.User = []string{"adversary.ip", "target.user"}, fmt.Sprint("u", n%30)
		case 2:
			a.DeduplicateBy, a.Target.User = []string{"target.user"}, fmt.Sprint("v", n%50)
			a.GroupBy = []string{"target.host"}
		}
		alerts[n] = a
	}

	work, done := make(chan *pb.Alert), make(chan struct{})
	var finished atomic.Int64
	var workers, killer sync.WaitGroup
	for w := range inFlight {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		workers.Go(func() {
			for a := range work {
				for times := 1 + random.IntN(5)/4; times > 0; {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					_, err := hosts[random.IntN(nodes)].client.Correlate(ctx, a)
					cancel()
					if err == nil {
						times--
					}
				}
				finished.Add(1)
			}
		})
	}
	kills := 0
	killer.Go(func() {
		random := rand.New(rand.NewPCG(seed, 1<<20))
		restarted := false
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(20+random.IntN(200)) * time.Millisecond):
			}
			if !restarted && finished.Load() > int64(total/2) {
				restarted = true
				s.stop()
				s.start()
				for _, h := range hosts {
					s.tell(h.engine.Dir)
				}
			}
			hosts[random.IntN(nodes)].kill()
			kills++
		}
	})
	for _, a := range alerts {
		work <- a
	}
	close(work)
	workers.Wait()
	close(done)
	killer.Wait()

	var messages []*pb.Message
	for _, h := range hosts {
		messages = append(messages, h.engine.Messages()...)
	}
	audit(t, alerts, messages)
	t.Logf("%d alerts, %d messages with repetitions, %d kills, one restart of the server", total, len(messages), kills)
}

// audit holds messages against the alerts that they are of.
func audit(t *testing.T, alerts []*pb.Alert, messages []*pb.Message) {
	t.Helper()
	// The stream keeps one of equal ids and equal bytes.
	stored := map[string]string{}
	byAlert := map[string]body{}
	for _, m := range messages {
		b := decodeBody(t, m)
		if before, ok := stored[m.Id]; ok {
			if before != m.String() {
				t.Errorf("message %s of alert %s has left twice:\n%s\n%s", m.Id, b.Alert, before, m)
			}
			continue
		}
		stored[m.Id] = m.String()
		if _, ok := byAlert[b.Alert]; ok {
			t.Errorf("alert %s has two message ids", b.Alert)
		}
		byAlert[b.Alert] = b
	}
	if len(byAlert) != len(alerts) {
		t.Errorf("%d alerts have left, of %d", len(byAlert), len(alerts))
	}
	type seat struct {
		incident string
		kind     bool // duplicate
		n        int
	}
	seats := map[seat]string{}
	parents := map[string]string{} // incident -> its first alert
	groups := map[string]string{}  // group -> incident
	firsts := map[string]string{}  // equal alerts -> the one that is none's duplicate
	counts := map[string]int{}
	highest := map[string]int{}
	last := map[string]body{} // of an incident, the one with the most alerts
	s := defaults()
	for _, a := range alerts {
		b, ok := byAlert[a.Id]
		if !ok {
			t.Errorf("alert %s has not left", a.Id)
			continue
		}
		f := factsOf(a, &s, time.Now())
		counts[string(b.Kind)]++
		if b.Kind == duplicate {
			if b.Incident == "" {
				continue // its first came after it
			}
			at := seat{b.Incident, true, b.Duplicates}
			if other, ok := seats[at]; ok {
				t.Errorf("%s and %s are both duplicate %d of %s", a.Id, other, b.Duplicates, b.Incident)
			}
			seats[at] = a.Id
			continue
		}
		if f.same != "" {
			if other, ok := firsts[f.same]; ok {
				t.Errorf("%s and %s are equal, and no duplicates", a.Id, other)
			}
			firsts[f.same] = a.Id
		}
		if other, ok := groups[f.group]; ok && other != b.Incident {
			t.Errorf("alert %s of the group of %s is in incident %s", a.Id, other, b.Incident)
		}
		groups[f.group] = b.Incident
		if b.Kind == opened {
			if other, ok := parents[b.Incident]; ok {
				t.Errorf("incident %s has two parents, %s and %s", b.Incident, other, a.Id)
			}
			parents[b.Incident] = a.Id
		}
		at := seat{b.Incident, false, b.Alerts}
		if other, ok := seats[at]; ok {
			t.Errorf("%s and %s are both alert %d of %s", a.Id, other, b.Alerts, b.Incident)
		}
		seats[at] = a.Id
		highest[b.Incident] = max(highest[b.Incident], f.severity)
		if b.Alerts > last[b.Incident].Alerts {
			last[b.Incident] = b
		}
	}
	for id, b := range last {
		for n := 1; n <= b.Alerts; n++ {
			first, ok := seats[seat{id, false, n}]
			if !ok {
				t.Errorf("alert %d of %s is missing", n, id)
			}
			if n > 1 && n <= len(b.Children)+1 && b.Children[n-2] != first {
				t.Errorf("child %d of %s is said to be %s, and %s was", n-1, id, b.Children[n-2], first)
			}
		}
		if ranks[highest[id]] != b.IncidentSeverity {
			t.Errorf("incident %s is said to be %s, its highest alert is %s", id, b.IncidentSeverity, ranks[highest[id]])
		}
	}
	for _, a := range alerts {
		b := byAlert[a.Id]
		f := factsOf(a, &s, time.Now())
		if b.Kind == joined && b.ParentID != parents[b.Incident] {
			t.Errorf("alert %s: parentId %s, its incident's first is %s", a.Id, b.ParentID, parents[b.Incident])
		}
		if b.Kind == duplicate && b.DuplicateOf != firsts[f.same] {
			t.Errorf("alert %s: duplicate of %s, the first of its equals is %s", a.Id, b.DuplicateOf, firsts[f.same])
		}
	}
	kinds := []string{}
	for k, n := range counts {
		kinds = append(kinds, fmt.Sprint(n, " ", k))
	}
	slices.Sort(kinds)
	t.Logf("%v, %d incidents", kinds, len(parents))
}

// While the state is away the plugin does not serve, so that the node keeps
// alerts and counts no attempts; when it is back it goes on with what it knew.
func TestStateAway(t *testing.T) {
	s := startServer(t, time.Minute)
	h := startHost(t, s, "")
	socket := filepath.Join(h.engine.Dir, "sockets", "inc_correlation.sock")
	call := func(id string, long time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		_, err := h.client.Correlate(ctx, alert(id, "x"))
		return err
	}
	if err := call("1", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := call("2", 200*time.Millisecond); err == nil {
		t.Error("an alert was taken without the state")
	}
	h.engine.Wait(t, "the socket is gone", func() bool {
		_, err := os.Stat(socket)
		return os.IsNotExist(err)
	})
	s.start()
	s.tell(h.engine.Dir)
	if err := call("2", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := call("1", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	got := bodies(t, h.engine)
	if len(got) != 2 || got[1].ParentID != "1" || got[1].Alerts != 2 || h.starts.Load() != 1 {
		t.Errorf("%d starts, messages %+v", h.starts.Load(), got)
	}
}
