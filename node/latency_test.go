package node_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const alertWay = `
pipeline:
  - dataTypes: [suricata]
    steps:
      - json: {source: raw}
plugins:
  analysis: {order: [rules]}
  correlation: {order: [last]}
`

// BenchmarkLoneLog measures one log at a time on its way from the input socket
// through the json step, an analysis plugin in a process of its own and
// JetStream to a correlation plugin, and the log's Ack, with sync always and
// without. "bare" is the same way through bareNode in the same run.
//
//	go test ./node -run '^$' -bench LoneLog
func BenchmarkLoneLog(b *testing.B) {
	const logs = 500
	for _, sync := range syncs {
		b.Run("sync="+sync.name, func(b *testing.B) {
			arrivals := make(chan string, 16)
			ours, bare := oursAlone(b, sync.setting, arrivals), bareAlone(b, sync.interval, arrivals)
			var acks, alerts, bareAlerts []time.Duration
			for b.Loop() {
				for range 2 {
					_, t := oneByOne(b, bare, logs, arrivals)
					bareAlerts = append(bareAlerts, t...)
					a, t := oneByOne(b, ours, logs, arrivals)
					acks, alerts = append(acks, a...), append(alerts, t...)
				}
			}
			report := func(name string, all []time.Duration, percent int) float64 {
				slices.Sort(all)
				ms := all[(len(all)-1)*percent/100].Seconds() * 1000
				b.ReportMetric(ms, name)
				return ms
			}
			report("ack-p50-ms", acks, 50)
			report("ack-p99-ms", acks, 99)
			p50 := report("alert-p50-ms", alerts, 50)
			report("alert-p99-ms", alerts, 99)
			b.ReportMetric(p50/report("bare-alert-p50-ms", bareAlerts, 50), "p50-of-bare")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// oneByOne sends a log whenever the one before is acked and its alert is there.
func oneByOne(b *testing.B, client pb.EngineClient, n int, arrivals <-chan string) (acks, alerts []time.Duration) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	st, err := client.Input(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		lone++
		l := suricataLog(lone)
		began := time.Now()
		if err := st.Send(l); err != nil {
			b.Fatal(err)
		}
		ack, err := st.Recv()
		if err != nil || ack.GetLastId() != l.GetId() {
			b.Fatalf("ack %v of log %s: %v", ack, l.GetId(), err)
		}
		acks = append(acks, time.Since(began))
		select {
		case id := <-arrivals:
			if id != l.GetId() {
				b.Fatalf("alert of log %s instead of %s", id, l.GetId())
			}
		case <-time.After(20 * time.Second):
			b.Fatalf("no alert of log %s", l.GetId())
		}
		alerts = append(alerts, time.Since(began))
	}
	return acks, alerts
}

// lone numbers the logs, so that none is sent twice.
var lone int

// oursAlone starts a node with both plugins.
func oursAlone(b *testing.B, sync string, arrivals chan string) pb.EngineClient {
	dir := shortdir.New(b)
	write(b, dir, "a.yaml", alertWay)
	n := start(b, dir, func(s *config.Settings) { s.NATS.Sync = sync })
	serveArrivals(b, filepath.Join(n.sockets(), plugin.SocketName(plugin.Correlation, "last")), arrivals)
	plugintest.Spawn(b, n.sockets(), plugin.Analysis, "rules", plugintest.Script{Alerts: 1, EOF: true})
	client := pb.NewEngineClient(dial(b, n.addr.Engine))
	oneByOne(b, client, 20, arrivals) // once all is connected
	return client
}

// bareAlone starts a bareNode with the same plugins.
func bareAlone(b *testing.B, sync time.Duration, arrivals chan string) pb.EngineClient {
	n := startBare(b, sync)
	sockets := filepath.Join(filepath.Dir(n.socket), "sockets")
	plugintest.Spawn(b, sockets, plugin.Analysis, "rules", plugintest.Script{Alerts: 1})
	last := filepath.Join(filepath.Dir(n.socket), "last.sock")
	serveArrivals(b, last, arrivals)
	n.serve(pb.NewAnalysisClient(dial(b, filepath.Join(sockets, plugin.SocketName(plugin.Analysis, "rules")))),
		pb.NewCorrelationClient(dial(b, last)))
	client := pb.NewEngineClient(dial(b, n.socket))
	oneByOne(b, client, 20, arrivals) // once all is connected
	return client
}

// arrivalsPlugin is a correlation plugin that tells which logs its alerts are of.
type arrivalsPlugin struct {
	pb.UnimplementedCorrelationServer
	ids chan<- string
}

func (p arrivalsPlugin) Correlate(_ context.Context, a *pb.Alert) (*emptypb.Empty, error) {
	p.ids <- a.GetEvents()[0].GetId()
	return &emptypb.Empty{}, nil
}

func serveArrivals(b *testing.B, socket string, ids chan<- string) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterCorrelationServer(g, arrivalsPlugin{ids: ids})
	go func() { _ = g.Serve(l) }()
	b.Cleanup(g.Stop)
}
