package stage_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"github.com/epmesh/epmesh/node/stage"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	callsInFlight = 128 // the default of plugins.in_flight
	callsARound   = 8192
)

// BenchmarkCalls measures calls to a plugin in a process of its own through the
// bridge: items are taken from their stream, handed to the plugin, what it
// answers is stored, and they are acknowledged. The bare gRPC client makes the
// same calls on the same process with the generated stub and as many in flight;
// it takes nothing from anywhere and stores nothing. "of-bare" is the ratio in
// the same run, at least 0.9 is wanted; "of-relaxed" that of sync always to a
// sync every two minutes.
//
//	go test ./node/stage -run '^$' -bench Calls
func BenchmarkCalls(b *testing.B) {
	event := &pb.Event{
		Id: "0b7c", DataType: "linux", DataSource: "host-17", TenantId: "t", Raw: strings.Repeat("a log line ", 40),
		Log: map[string]*structpb.Value{
			"program": structpb.NewStringValue("sshd"),
			"pid":     structpb.NewNumberValue(4711),
			"text":    structpb.NewStringValue("Failed password for root"),
		},
		Origin: &pb.Side{Ip: "192.0.2.17", User: "root"},
	}
	alert := &pb.Alert{Id: "1", Name: "Brute force", TenantId: "t", Events: []*pb.Event{event}}
	analyze := func(cc grpc.ClientConnInterface) error {
		st, err := pb.NewAnalysisClient(cc).Analyze(context.Background(), event)
		for err == nil {
			_, err = st.Recv()
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
	for _, bc := range []struct {
		name     string
		kind     plugin.Kind
		script   plugintest.Script
		consumer bridge.Consumer
		subject  string
		item     proto.Message
		handler  func(*plugin.Client) bridge.Handler
		bare     func(grpc.ClientConnInterface) error
	}{
		{
			"analysis", plugin.Analysis,
			plugintest.Script{},
			bridge.AnalysisConsumer("p"), bridge.EventSubject("t", "linux"), event,
			stage.Analysis, analyze,
		},
		{
			"analysis-alerts", plugin.Analysis,
			plugintest.Script{Alerts: 1},
			bridge.AnalysisConsumer("p"), bridge.EventSubject("t", "linux"), event,
			stage.Analysis, analyze,
		},
		{
			"correlation", plugin.Correlation,
			plugintest.Script{},
			bridge.CorrelationConsumer("p"), bridge.AlertSubject("t", "linux"), alert,
			stage.Correlation,
			func(cc grpc.ClientConnInterface) error {
				_, err := pb.NewCorrelationClient(cc).Correlate(context.Background(), alert)
				return err
			},
		},
	} {
		b.Run(bc.name, func(b *testing.B) {
			dir := socketDir(b)
			plugintest.Spawn(b, dir, bc.kind, "p", bc.script)
			client := liveClient(b, dir, bc.kind)
			cc, err := grpc.NewClient("unix:"+filepath.Join(dir, plugin.SocketName(bc.kind, "p")),
				grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			defer cc.Close()
			body, err := proto.Marshal(bc.item)
			if err != nil {
				b.Fatal(err)
			}
			syncs := map[string]time.Duration{"relaxed": 2 * time.Minute, "always": 0}
			bridges := map[string]*bridge.Bridge{}
			for name, interval := range syncs {
				s := bridgetest.ServerIn(b, b.TempDir(), interval)
				br := bridgetest.Open(b, func(o *bridge.Options) { o.Server, o.AckWait = s, time.Minute })
				if _, err := br.Ensure(b.Context(), []bridge.Consumer{bc.consumer, bridge.CorrelationConsumer("q")}); err != nil {
					b.Fatal(err)
				}
				bridges[name] = br
			}
			serial := 0
			round := func(name string) time.Duration {
				items := make([]bridge.Item, callsARound)
				for i := range items {
					serial++
					items[i] = bridge.Item{ID: bridge.NewID(fmt.Append(nil, serial)), Subject: bc.subject, Body: body}
				}
				return bridgeRound(b, bridges[name], bridge.Work{Consumer: bc.consumer, Handler: bc.handler(client)}, items)
			}
			bareRound(b, cc, bc.bare)
			round("relaxed")
			var rates, bare, relaxed, always, ratio []float64
			for b.Loop() {
				for range 3 {
					// In both orders, so that neither always follows the other.
					t1, t2, t3, t4 := bareRound(b, cc, bc.bare), round("relaxed"), round("always"), bareRound(b, cc, bc.bare)
					plain := (t1 + t4).Seconds() / 2
					rates = append(rates, callsARound/t2.Seconds())
					bare = append(bare, callsARound/plain)
					relaxed = append(relaxed, plain/t2.Seconds())
					always = append(always, plain/t3.Seconds())
					ratio = append(ratio, t2.Seconds()/t3.Seconds())
				}
			}
			b.ReportMetric(median(bare), "bare-calls/s")
			b.ReportMetric(median(rates), "calls/s")
			b.ReportMetric(median(relaxed), "of-bare")
			b.ReportMetric(median(always), "always-of-bare")
			b.ReportMetric(median(ratio), "of-relaxed")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bridgeRound stores items, then measures how long they take to be done.
func bridgeRound(b *testing.B, br *bridge.Bridge, w bridge.Work, items []bridge.Item) time.Duration {
	if err := br.Publish(b.Context(), items...); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(len(items)))
	done := make(chan struct{})
	w.Parallel, w.Within, w.Adapt = callsInFlight, callsInFlight, true
	w.Done = func(bridge.Item, []bridge.Item, time.Duration) {
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	var consuming sync.WaitGroup
	began := time.Now()
	consuming.Go(func() {
		if err := br.Consume(ctx, w); err != nil {
			b.Error(err)
		}
	})
	<-done
	took := time.Since(began)
	cancel()
	consuming.Wait()
	return took
}

// bareRound makes the same number of calls with as many in flight.
func bareRound(b *testing.B, cc grpc.ClientConnInterface, call func(grpc.ClientConnInterface) error) time.Duration {
	began := time.Now()
	var callers sync.WaitGroup
	for range callsInFlight {
		callers.Go(func() {
			for range callsARound / callsInFlight {
				if err := call(cc); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	return time.Since(began)
}

func socketDir(b *testing.B) string {
	dir := shortdir.New(b)
	return filepath.Join(dir, "sockets")
}

func liveClient(b *testing.B, dir string, kind plugin.Kind) *plugin.Client {
	r := plugin.NewRegistry(plugin.Options{Dir: dir, InFlight: callsInFlight})
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := r.Serve(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() { cancel(); serving.Wait() })
	client := r.Client(kind, "p")
	wait, end := context.WithTimeout(ctx, 20*time.Second)
	defer end()
	if err := client.WaitLive(wait); err != nil {
		b.Fatal(err)
	}
	return client
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
