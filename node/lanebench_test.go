package node_test

import (
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

// laneWay has every event go to an analysis plugin.
const laneWay = `
pipeline:
  - dataTypes: [suricata]
    steps:
      - json: {source: raw}
plugins:
  analysis: {order: [p]}
`

// BenchmarkLane measures the whole way from the input socket, over a pipeline of
// one json step and JetStream, to a kit plugin in a process of its own that has
// looked at each event: with its batch lane and without, in turns in the same
// run. "cpu" counts processor time of both processes instead of the clock's; the
// sender is in this process and counted.
//
//	go test ./node -run '^$' -bench Lane
func BenchmarkLane(b *testing.B) {
	const rounds = 3
	var lanes, singles, ratios, cpuLane, cpuSingle, cpuRatios []float64
	for b.Loop() {
		for range rounds {
			single, singleCPU := inputToAnalysis(b, false, laneLogs)
			lane, laneCPU := inputToAnalysis(b, true, laneLogs)
			lanes = append(lanes, laneLogs/lane.Seconds())
			singles = append(singles, laneLogs/single.Seconds())
			ratios = append(ratios, single.Seconds()/lane.Seconds())
			cpuLane = append(cpuLane, laneCPU.Seconds()/laneLogs*1e6)
			cpuSingle = append(cpuSingle, singleCPU.Seconds()/laneLogs*1e6)
			cpuRatios = append(cpuRatios, singleCPU.Seconds()/laneCPU.Seconds())
		}
	}
	b.ReportMetric(median(lanes), "lane-logs/s")
	b.ReportMetric(median(singles), "single-logs/s")
	b.ReportMetric(median(ratios), "x-single")
	b.ReportMetric(median(cpuLane), "lane-cpu-us/log")
	b.ReportMetric(median(cpuSingle), "single-cpu-us/log")
	b.ReportMetric(median(cpuRatios), "x-single-cpu")
	b.ReportMetric(0, "ns/op")
}

const laneLogs = 20_000

func inputToAnalysis(b *testing.B, lane bool, n int) (clock, cpu time.Duration) {
	dir := shortdir.New(b)
	write(b, dir, "a.yaml", laneWay)
	nd := start(b, dir, func(s *config.Settings) { s.NATS.Sync, s.Plugins.Lane = "2m", lane })
	defer nd.stop()
	p := plugintest.Spawn(b, nd.sockets(), plugin.Analysis, "p", plugintest.Script{Kit: true})
	defer p.Kill()
	state := 0
	if lane {
		state = 1
	}
	nd.untilMetric(`epmesh_plugin_lane{kind="analysis",plugin="p"}`, state)
	nd.untilMetric(`epmesh_plugin_state{kind="analysis",plugin="p",state="live"}`, 1)
	client := pb.NewEngineClient(dial(b, nd.addr.Engine))
	began, before := time.Now(), p.CPU()
	sendAll(b, client, n)
	nd.untilMetric(`epmesh_stage_out_total{plugin="p",stage="analysis"}`, n)
	return time.Since(began), p.CPU() - before
}
