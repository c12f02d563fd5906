package stage_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"github.com/epmesh/epmesh/node/stage"
)

// BenchmarkLane measures events to one kit plugin in a process of its own
// through the bridge, by the plugin's batch lane and one by one, in turns in the
// same run: items are taken from their stream, handed to the plugin, and
// acknowledged. "x-single" is the median of the ratios; at least 4 is wanted.
//
//	go test ./node/stage -run '^$' -bench Lane
func BenchmarkLane(b *testing.B) {
	dir := shortdir.New(b)
	plugintest.Spawn(b, filepath.Join(dir, "sockets"), plugin.Analysis, "p", plugintest.Script{Kit: true})
	byLane, bySelf := laneRegistry(b, dir, 1, false), laneRegistry(b, dir, 1, true)
	consumer := bridge.AnalysisConsumer("p")
	s := bridgetest.ServerIn(b, b.TempDir(), 2*time.Minute)
	br := bridgetest.Open(b, func(o *bridge.Options) { o.Server, o.AckWait = s, time.Minute })
	if _, err := br.Ensure(b.Context(), []bridge.Consumer{consumer, bridge.CorrelationConsumer("q")}); err != nil {
		b.Fatal(err)
	}
	template := events(b, 512)
	serial := 0
	round := func(r *plugin.Registry) float64 {
		items := make([]bridge.Item, laneRound)
		for i := range items {
			serial++
			items[i] = template[i%len(template)]
			items[i].ID = bridge.NewID(fmt.Append(nil, serial))
		}
		return bridgeRound(b, br, bridge.Work{Consumer: consumer, Handler: stage.Analysis(r.Client(plugin.Analysis, "p"))}, items).Seconds()
	}
	round(byLane) // to warm up
	round(bySelf)
	var ratios, rates, singles []float64
	for b.Loop() {
		for range 3 {
			first, second, third, fourth := round(bySelf), round(byLane), round(byLane), round(bySelf)
			ratios = append(ratios, (first+fourth)/(second+third))
			rates = append(rates, 2*laneRound/(second+third))
			singles = append(singles, 2*laneRound/(first+fourth))
		}
	}
	b.ReportMetric(median(singles), "single-events/s")
	b.ReportMetric(median(rates), "lane-events/s")
	b.ReportMetric(median(ratios), "x-single")
	b.ReportMetric(0, "ns/op")
}

const laneRound = 1 << 14
