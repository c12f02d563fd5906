package plugin_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

// laneEvent is an event of about 700 bytes in wire form.
func laneEvent() *pb.Event {
	return &pb.Event{
		Id: "0198f3a1-7c1e-7d6e-9c53-0a1b2c3d4e5f", DataType: "linux", DataSource: "host-17", TenantId: "t", Raw: strings.Repeat("a log line ", 40),
		Log: map[string]*structpb.Value{
			"program": structpb.NewStringValue("sshd"),
			"pid":     structpb.NewNumberValue(4711),
			"text":    structpb.NewStringValue("Failed password for root"),
		},
		Origin: &pb.Side{Ip: "192.0.2.17", User: "root"},
	}
}

// BenchmarkLane measures calls to one kit plugin in a process of its own, 128 in
// flight, by its batch lane and one by one, in turns in the same run. "x-single"
// is the median of the ratios; at least 4 is wanted. The "cpu" figures count
// processor time of both processes instead of the clock's, which what else runs
// on the machine makes longer.
//
//	go test ./node/plugin -run '^$' -bench 'Lane$'
func BenchmarkLane(b *testing.B) {
	event := laneEvent()
	eventBytes := encode(b, event)
	alertBytes := encode(b, &pb.Alert{Id: "1", Name: "Brute force", Events: []*pb.Event{event}})
	transform := &pb.Transform{
		Draft: &pb.Draft{Log: `{"id":"1","raw":"` + strings.Repeat("a log line ", 40) + `"}`},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: "p"}},
	}
	o := plugin.CallOptions{}
	for _, bc := range []struct {
		name   string
		kind   plugin.Kind
		script plugintest.Script
		call   func(*plugin.Client) error
	}{
		{"parsing", plugin.Parsing, plugintest.Script{}, func(c *plugin.Client) error {
			_, err := c.ParseLog(context.Background(), transform, o)
			return err
		}},
		{"analysis", plugin.Analysis, plugintest.Script{}, func(c *plugin.Client) error {
			_, err := c.Analyze(context.Background(), eventBytes, o)
			return err
		}},
		{"analysis-alerts", plugin.Analysis, plugintest.Script{Alerts: 1}, func(c *plugin.Client) error {
			_, err := c.Analyze(context.Background(), eventBytes, o)
			return err
		}},
		{"correlation", plugin.Correlation, plugintest.Script{}, func(c *plugin.Client) error {
			return c.Correlate(context.Background(), alertBytes, o)
		}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			dir := socketDir(b)
			bc.script.Kit = true
			process := plugintest.Spawn(b, dir, bc.kind, "p", bc.script)
			client := func(noLane bool) *plugin.Client {
				r := newRegistry(b, dir, func(o *plugin.Options) { o.InFlight, o.NoLane = laneInFlight, noLane })
				c := r.Client(bc.kind, "p")
				way{kit: !noLane}.waitLive(b, r, c)
				return c
			}
			lane, single := client(false), client(true)
			// inTurns makes the calls of a round and gives the seconds, of the clock
			// and of processors, that they took.
			inTurns := func(c *plugin.Client) (clock, cpu float64) {
				before := process.CPU()
				took := callMany(b, laneInFlight, laneCalls, func() error { return bc.call(c) })
				return took.Seconds(), (process.CPU() - before).Seconds()
			}
			inTurns(single) // to warm up
			inTurns(lane)
			var ratios, rates, singles, cpuRatios, cpuLane, cpuSingle []float64
			for b.Loop() {
				for range 3 {
					first, cpu1 := inTurns(single)
					second, cpu2 := inTurns(lane)
					third, cpu3 := inTurns(lane)
					fourth, cpu4 := inTurns(single)
					ratios = append(ratios, (first+fourth)/(second+third))
					rates = append(rates, 2*laneCalls/(second+third))
					singles = append(singles, 2*laneCalls/(first+fourth))
					cpuRatios = append(cpuRatios, (cpu1+cpu4)/(cpu2+cpu3))
					cpuSingle = append(cpuSingle, (cpu1+cpu4)/2/laneCalls*1e6)
					cpuLane = append(cpuLane, (cpu2+cpu3)/2/laneCalls*1e6)
				}
			}
			b.ReportMetric(median(singles), "single-calls/s")
			b.ReportMetric(median(rates), "lane-calls/s")
			b.ReportMetric(median(ratios), "x-single")
			b.ReportMetric(median(cpuSingle), "single-cpu-us/call")
			b.ReportMetric(median(cpuLane), "lane-cpu-us/call")
			b.ReportMetric(median(cpuRatios), "x-single-cpu")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	laneInFlight = 128 // the default of plugins.in_flight
	laneCalls    = 1 << 14
)
