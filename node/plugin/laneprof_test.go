package plugin_test

import (
	"context"
	"testing"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

// BenchmarkLaneAlone has both sides in this process, for profiles and
// allocations.
//
//	go test ./node/plugin -run '^$' -bench LaneAlone -cpuprofile cpu.out
func BenchmarkLaneAlone(b *testing.B) {
	dir := socketDir(b)
	plugintest.Start(b, dir, plugin.Analysis, "p", plugintest.Script{Kit: true, Drop: true})
	r := newRegistry(b, dir, func(o *plugin.Options) { o.InFlight = laneInFlight })
	c := r.Client(plugin.Analysis, "p")
	way{kit: true}.waitLive(b, r, c)
	body := encode(b, laneEvent())
	b.ReportAllocs()
	b.SetParallelism(laneInFlight / 2)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := c.Analyze(context.Background(), body, plugin.CallOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	s := r.Snapshot()[0]
	b.ReportMetric(float64(s.LaneCalls)/float64(s.LaneFrames), "calls/frame")
}
