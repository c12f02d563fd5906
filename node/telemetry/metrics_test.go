package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed are sources that have one of everything.
type fixed struct{}

func (fixed) Inputs() []InputSnapshot {
	h := NewHistogram()
	h.Observe(3 * firstBound)
	return []InputSnapshot{{
		Kind: "log", Received: 10, Bytes: 1000, Stored: 5, Refused: map[string]uint64{"not_utf8": 2},
		Abandoned: 1, InFlight: 2, Acks: 3, Streams: 4, Latency: h.Snapshot(),
	}}
}

func (fixed) Stages() []StageSnapshot {
	return []StageSnapshot{{
		Stage: "analysis", Plugin: "rules", In: 20, Out: 10, Dropped: 4, Dead: 3, Returned: 2, InFlight: 1, Ahead: 5, Limit: 7,
		Outputs: 30, Retried: 6, Pending: 40, LagItems: 50.5, LagSeconds: 1.5, Affinity: true, Partitions: 21, Taken: 23,
		Duration: NewHistogram().Snapshot(),
	}}
}

func (fixed) Flaws() (events, fields uint64) { return 8, 9 }

func (fixed) Plugins() []PluginSnapshot {
	return []PluginSnapshot{{Name: "ru\xffles", Kind: "analysis", State: "running", Starts: 2, Calls: 7, Failures: 1, InFlight: 3, Lane: true, LaneCalls: 6, LaneFrames: 2}}
}

func scrape(t *testing.T, src Sources) (string, string) {
	t.Helper()
	var log bytes.Buffer
	rec := httptest.NewRecorder()
	Handler(NewRegistry(src), hclog.New(&hclog.LoggerOptions{Output: &log})).
		ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String(), log.String()
}

func TestMetricsOfAllSources(t *testing.T) {
	page, log := scrape(t, Sources{
		Build: Build{"v1", "abc", "n1"}, Inputs: fixed{}, Stages: fixed{}, Events: fixed{}, Plugins: fixed{}, InputToAlert: NewHistogram(),
		LeaseLosses: func() int64 { return 7 }, Hub: func() (bool, int64) { return true, 3 },
	})
	for _, want := range []string{
		`epmesh_build_info{node="n1",revision="abc",version="v1"} 1`,
		`epmesh_input_received_total{kind="log"} 10`,
		`epmesh_input_refused_total{kind="log",reason="not_utf8"} 2`,
		`epmesh_input_ack_seconds_bucket{kind="log",le="0.0002"} 0`,
		`epmesh_input_ack_seconds_bucket{kind="log",le="0.0004"} 1`,
		`epmesh_input_ack_seconds_sum{kind="log"} 0.0003`,
		"epmesh_hub_up 1\n",
		"epmesh_hub_losses_total 3\n",
		`epmesh_stage_in_total{plugin="rules",stage="analysis"} 20`,
		`epmesh_stage_out_total{plugin="rules",stage="analysis"} 10`,
		`epmesh_stage_dropped_total{plugin="rules",stage="analysis"} 4`,
		`epmesh_stage_dead_total{plugin="rules",stage="analysis"} 3`,
		`epmesh_stage_returned_total{plugin="rules",stage="analysis"} 2`,
		`epmesh_stage_in_flight{plugin="rules",stage="analysis"} 1`,
		`epmesh_stage_ahead{plugin="rules",stage="analysis"} 5`,
		`epmesh_stage_limit{plugin="rules",stage="analysis"} 7`,
		`epmesh_stage_retried_total{plugin="rules",stage="analysis"} 6`,
		`epmesh_stage_pending{plugin="rules",stage="analysis"} 40`,
		`epmesh_stage_partitions{plugin="rules",stage="analysis"} 21`,
		`epmesh_stage_partitions_taken_total{plugin="rules",stage="analysis"} 23`,
		`epmesh_lease_losses_total 7`,
		"epmesh_plugin_state{kind=\"analysis\",plugin=\"ru\uFFFDles\",state=\"running\"} 1",
		"epmesh_plugin_lane{kind=\"analysis\",plugin=\"ru\uFFFDles\"} 1",
		"epmesh_plugin_lane_calls_total{kind=\"analysis\",plugin=\"ru\uFFFDles\"} 6",
		"epmesh_plugin_lane_frames_total{kind=\"analysis\",plugin=\"ru\uFFFDles\"} 2",
		`epmesh_event_flawed_total 8`,
		`epmesh_event_vanished_fields_total 9`,
		`go_goroutines `,
		`epmesh_input_to_alert_seconds_count 0`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, m := range all {
		if !strings.Contains(page, "# TYPE "+m.name+" "+m.kind+"\n") {
			t.Errorf("no %s %s", m.kind, m.name)
		}
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

type twice struct{ fixed }

func (t twice) Stages() []StageSnapshot { return append(t.fixed.Stages(), t.fixed.Stages()...) }

func TestABadSourceLeavesTheOthers(t *testing.T) {
	page, log := scrape(t, Sources{Inputs: fixed{}, Stages: twice{}})
	if !strings.Contains(page, "epmesh_input_received_total") || log == "" {
		t.Errorf("page:\n%s\nlog: %s", page, log)
	}
}

func TestNoSources(t *testing.T) {
	page, _ := scrape(t, Sources{})
	if !strings.Contains(page, "epmesh_build_info") || strings.Contains(page, "epmesh_stage") {
		t.Errorf("page:\n%s", page)
	}
}

// moving is a stage under load, with the counters a consumer keeps.
type moving struct{ in, out, dropped, dead, returned, held atomic.Int64 }

func (m *moving) Stages() []StageSnapshot {
	s := StageSnapshot{
		Stage: "parse", Out: uint64(m.out.Load()), Dropped: uint64(m.dropped.Load()), Dead: uint64(m.dead.Load()),
		Returned: uint64(m.returned.Load()),
	}
	s.InFlight = m.held.Load()
	s.In = uint64(m.in.Load())
	return []StageSnapshot{s}
}

func TestConservation(t *testing.T) {
	m := &moving{}
	reg := NewRegistry(Sources{Stages: m})
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, w))
			for range 2000 {
				m.in.Add(1)
				m.held.Add(1)
				[]*atomic.Int64{&m.out, &m.dropped, &m.dead, &m.returned}[r.IntN(4)].Add(1)
				m.held.Add(-1)
			}
		})
	}
	for range 20 {
		if _, err := reg.Gather(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	m.in.Add(3)
	m.held.Add(3)
	if b := m.Stages()[0].Balance(); b != 0 {
		t.Errorf("%d items are unaccounted for", b)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	// What anyone can check from the page alone.
	v := map[string]float64{}
	for _, f := range families {
		for _, x := range f.Metric {
			v[f.GetName()] += x.GetCounter().GetValue() + x.GetGauge().GetValue()
		}
	}
	sum := 0.0
	for _, n := range []string{"out_total", "dropped_total", "dead_total", "returned_total", "in_flight"} {
		sum += v["epmesh_stage_"+n]
	}
	if in := v["epmesh_stage_in_total"]; in != 8003 || in != sum {
		t.Errorf("in %v, out + dropped + dead + returned + in flight %v", in, sum)
	}
}

func TestTheDocumentationListsEveryMetric(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- begin: written by go test ./node/telemetry -update -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(string(doc), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks its marks", path)
	}
	var want strings.Builder
	want.WriteString("\n| metric | type | labels | what it is |\n|---|---|---|---|\n")
	for _, m := range all {
		labels := "–"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	want.WriteString("\n")
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want.String() {
		t.Errorf("%s is out of date: go test ./node/telemetry -update", path)
	}
}
