package stage_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/stage"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Events give the same alerts by the lane as one by one: as many, under the same
// identities, with the same bytes. First a plugin whose alerts differ in number,
// size and in how they end; then the bundled cel with rules.
func TestLaneGivesTheSameAlerts(t *testing.T) {
	dir := shortdir.New(t)
	run(t, func(ctx context.Context) error {
		return plugins.Serve(ctx, plugins.Options{
			Name: "p", Dir: dir, Logger: hclog.NewNullLogger(),
			Analyze: func(_ context.Context, e *plugins.Event, emit func(*plugins.Alert) error) error {
				n := len(e.Id) + int(e.Id[len(e.Id)-1])
				for i := range n % 5 {
					a := &plugins.Alert{Name: fmt.Sprint(i, e.Id), Timestamp: "t", DataType: e.DataType, Events: []*plugins.Event{e}}
					if err := emit(a); err != nil {
						return err
					}
				}
				switch n % 7 {
				case 0:
					return io.EOF
				case 1:
					return errors.New("not this one")
				case 2:
					panic("nor this one")
				}
				return nil
			},
		})
	})
	rules := filepath.Join(dir, "rules")
	if err := os.MkdirAll(rules, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "r.yml"), []byte(`
- name: Root logs in
  category: Access
  technique: T1078
  dataTypes: [linux]
  impact: {confidentiality: 3, integrity: 2, availability: 1}
  where: equals("origin.user", "root") && contains("raw", "Accepted")
- name: Any login
  category: Access
  technique: T1078
  dataTypes: [linux]
  adversary: target
  where: exists("log.pid")
`), 0o600); err != nil {
		t.Fatal(err)
	}
	analyzer, err := cel.New(plugins.Instance{Name: "rules", Dir: dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	run(t, analyzer.Run)

	byLane, bySelf := laneRegistry(t, dir, 2, false), laneRegistry(t, dir, 2, true)
	for _, tc := range []struct {
		plugin         string
		events, alerts int
	}{{"p", 2000, 2000}, {"rules", 60, 60}} {
		t.Run(tc.plugin, func(t *testing.T) {
			items := events(t, tc.events)
			lane, single := byLane.Client(plugin.Analysis, tc.plugin), bySelf.Client(plugin.Analysis, tc.plugin)
			got, want := alertsOf(t, lane, items), alertsOf(t, single, items)
			if len(want) < tc.alerts {
				t.Fatalf("only %d answers", len(want))
			}
			if len(got) != len(want) {
				t.Errorf("%d answers by lane, %d one by one", len(got), len(want))
			}
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("by lane:\n%s\none by one:\n%s", got[i], want[i])
				}
			}
			calls, frames := laneUse(byLane, tc.plugin)
			t.Logf("%d answers, %d calls in %d frames", len(got), calls, frames)
			if calls != uint64(len(items)) || frames >= calls {
				t.Errorf("%d of %d calls went by lane, in %d frames", calls, len(items), frames)
			}
			if calls, _ := laneUse(bySelf, tc.plugin); calls != 0 {
				t.Errorf("%d calls went by lane that should not", calls)
			}
		})
	}
}

// alertsOf hands the items to the plugin, 128 at once, and tells what came of
// each, in an order of its own.
func alertsOf(t *testing.T, client *plugin.Client, items []bridge.Item) []string {
	handler := stage.Analysis(client)
	var mu sync.Mutex
	var all []string
	var wg sync.WaitGroup
	for worker := range callsInFlight {
		wg.Go(func() {
			for i := worker; i < len(items); i += callsInFlight {
				outs, err := handler(t.Context(), items[i])
				lines := []string{fmt.Sprintf("%05d failed: %v", i, err)}
				if err == nil {
					lines = nil
				}
				for n, out := range outs {
					lines = append(lines, fmt.Sprintf("%05d %d %x %s %s", i, n, out.ID, out.Subject, stable(t, out.Body)))
				}
				mu.Lock()
				all = append(all, lines...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// stable is an alert's bytes but for when it was made, which cel notes, and the
// order of maps, which protobuf leaves open.
func stable(t *testing.T, body []byte) []byte {
	var a pb.Alert
	if err := proto.Unmarshal(body, &a); err != nil {
		t.Error(err)
	}
	a.Timestamp, a.LastUpdate = "", ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&a)
	if err != nil {
		t.Error(err)
	}
	return bytes.ToValidUTF8(b, []byte("?"))
}

func events(t testing.TB, n int) []bridge.Item {
	items := make([]bridge.Item, n)
	for i := range items {
		e := &pb.Event{
			Id: fmt.Sprintf("event-%d", i), Timestamp: "2026-01-02T03:04:05Z", DataType: "linux", DataSource: "host", TenantId: "t",
			Raw:    "sshd[1]: Accepted password " + strings.Repeat("x", i%300),
			Log:    map[string]*structpb.Value{"pid": structpb.NewNumberValue(float64(i)), "program": structpb.NewStringValue("sshd")},
			Origin: &pb.Side{Ip: "192.0.2.7", User: cmp.Or(map[int]string{0: "root"}[i%3], "user")},
		}
		body, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		items[i] = bridge.Item{ID: bridge.NewID([]byte(e.Id)), Subject: bridge.EventSubject("t", "linux"), Body: body}
	}
	return items
}

// run runs a plugin until the test ends.
func run(t testing.TB, serve func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// laneRegistry knows the plugins below dir, of which there are n, and calls all
// of them by lane, or none.
func laneRegistry(t testing.TB, dir string, n int, noLane bool) *plugin.Registry {
	r := plugin.NewRegistry(plugin.Options{Dir: filepath.Join(dir, "sockets"), InFlight: callsInFlight, NoLane: noLane})
	run(t, r.Serve)
	deadline := time.After(20 * time.Second)
	for {
		changed := r.Changes()
		ready := 0
		for _, s := range r.Snapshot() {
			if s.State == plugin.StateLive && s.Lane == !noLane {
				ready++
			}
		}
		if ready == n {
			return r
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("plugins are not ready: %+v", r.Snapshot())
		}
	}
}

func laneUse(r *plugin.Registry, name string) (calls, frames uint64) {
	for _, s := range r.Snapshot() {
		if s.Name == name {
			return s.LaneCalls, s.LaneFrames
		}
	}
	return 0, 0
}
