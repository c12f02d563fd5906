package cel

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// joined are instances that ask each other over a NATS server; the first is alone.
func joined(b *testing.B, url string, others int) *analyzer {
	b.Helper()
	set := rulesOf(bruteForce, b.Fatal)
	var first *analyzer
	for i := range others + 1 {
		a := &analyzer{Instance: plugins.Instance{Name: fmt.Sprint("cel", others), Dir: b.TempDir(), Logger: hclog.NewNullLogger()}, settings: defaults()}
		a.History.Mesh = others > 0
		a.Storm = stormSettings{Window: plugins.Duration(time.Hour)}
		a.prepare()
		a.store = history.NewMemory(history.Limits{Events: 1_000_000, Bytes: 1 << 30, Age: time.Hour})
		b.Setenv("NODE_NAME", fmt.Sprint("n", i))
		if err := bridge.WriteStateAccess(a.Dir+"/run/state.json", bridge.StateAccess{URL: url}); err != nil {
			b.Fatal(err)
		}
		leave := a.join(b.Context())
		b.Cleanup(leave)
		if err := a.use(set); err != nil {
			b.Fatal(err)
		}
		for n := range 20_000 {
			a.alerts(b, sampled(fmt.Sprint(i, "-", n), n, "other"))
		}
		if i == 0 {
			first = a
		}
	}
	for first.mesh != nil {
		if names, _ := first.peers.List(); len(names) == others {
			break
		}
	}
	return first
}

func sampled(id string, n int, result string) *pb.Event {
	return event(id, fmt.Sprint("ip", n%1000), result)
}

// What an event with a search costs where others are asked, and where none are: the
// last is this machine's alone, with the mesh off.
func BenchmarkMeshSearch(b *testing.B) {
	url := bridgetest.External(b)
	outside := bridgetest.Open(b, func(o *bridge.Options) { o.URL = url })
	if _, err := outside.Ensure(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	var local time.Duration
	for _, others := range []int{0, 1, 2, 5} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			a := joined(b, url, others)
			times := make([]time.Duration, 0, b.N)
			n := 0
			for b.Loop() {
				n++
				e := sampled(fmt.Sprint("x", n), n, "failed")
				began := time.Now()
				if err := a.analyze(b.Context(), e, func(*pb.Alert) error { return nil }); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(began))
			}
			slices.Sort(times)
			p50 := times[len(times)/2]
			if others == 0 {
				local = p50
			}
			b.ReportMetric(float64(p50.Microseconds()), "p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(p50)/float64(local), "of-local")
		})
	}
}
