package plugin_test

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

// BenchmarkCall measures calls to a plugin in a process of its own, 64 in
// flight, through a Client and through a bare gRPC client with the generated
// stub, in turns in the same run. "of-bare" is the median of the Client's rate in
// terms of the bare one's; at least 0.9 is wanted.
func BenchmarkCall(b *testing.B) {
	event := &pb.Event{
		Id: "0b7c", DataType: "linux", DataSource: "host-17", Raw: strings.Repeat("a log line ", 40),
		Log: map[string]*structpb.Value{
			"program": structpb.NewStringValue("sshd"),
			"pid":     structpb.NewNumberValue(4711),
			"text":    structpb.NewStringValue("Failed password for root"),
		},
		Origin: &pb.Side{Ip: "192.0.2.17", User: "root"},
	}
	alert := &pb.Alert{Id: "1", Name: "Brute force", Events: []*pb.Event{event}}
	transform := &pb.Transform{
		Draft: &pb.Draft{Log: `{"id":"1","raw":"` + strings.Repeat("a log line ", 40) + `"}`},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: "p"}},
	}
	eventBytes, alertBytes := encode(b, event), encode(b, alert)
	o := plugin.CallOptions{}
	ctx := context.Background()
	for _, bc := range []struct {
		kind   plugin.Kind
		script plugintest.Script
		bare   func(grpc.ClientConnInterface) error
		client func(*plugin.Client) error
	}{
		{
			kind: plugin.Parsing,
			bare: func(cc grpc.ClientConnInterface) error {
				_, err := pb.NewParsingClient(cc).ParseLog(ctx, transform)
				return err
			},
			client: func(c *plugin.Client) error {
				_, err := c.ParseLog(ctx, transform, o)
				return err
			},
		},
		{
			kind: plugin.Analysis, script: plugintest.Script{Alerts: 1},
			bare: func(cc grpc.ClientConnInterface) error {
				stream, err := pb.NewAnalysisClient(cc).Analyze(ctx, event)
				for err == nil {
					var a *pb.Alert
					if a, err = stream.Recv(); err == nil {
						_, err = proto.Marshal(a)
					}
				}
				if err == io.EOF {
					return nil
				}
				return err
			},
			client: func(c *plugin.Client) error {
				_, err := c.Analyze(ctx, eventBytes, o)
				return err
			},
		},
		{
			kind: plugin.Correlation,
			bare: func(cc grpc.ClientConnInterface) error {
				_, err := pb.NewCorrelationClient(cc).Correlate(ctx, alert)
				return err
			},
			client: func(c *plugin.Client) error { return c.Correlate(ctx, alertBytes, o) },
		},
	} {
		b.Run(string(bc.kind), func(b *testing.B) {
			dir := socketDir(b)
			plugintest.Spawn(b, dir, bc.kind, "p", bc.script)
			c := newRegistry(b, dir, nil).Client(bc.kind, "p")
			waitLive(b, c)
			cc, err := grpc.NewClient("unix:"+filepath.Join(dir, plugin.SocketName(bc.kind, "p")),
				grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			defer cc.Close()
			bare := func() error { return bc.bare(cc) }
			client := func() error { return bc.client(c) }
			b.ReportAllocs()
			round(b, bare)
			round(b, client)
			var ratios, rates []float64
			for b.Loop() {
				// In both orders, so that neither always follows the other.
				first, second := round(b, bare), round(b, client)
				third, fourth := round(b, client), round(b, bare)
				ratios = append(ratios, (first+fourth).Seconds()/(second+third).Seconds())
				rates = append(rates, 2*roundCalls/(second+third).Seconds())
			}
			b.ReportMetric(median(rates), "calls/s")
			b.ReportMetric(median(ratios), "of-bare")
		})
	}
}

const (
	roundCalls = 64 * 16
	inFlight   = 64
)

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// round makes its calls from as many goroutines as are in flight.
func round(b *testing.B, call func() error) time.Duration {
	return callMany(b, inFlight, roundCalls, call)
}

func callMany(b *testing.B, callers, calls int, call func() error) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls / callers {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// BenchmarkClient is for profiles and allocations: one kind of call alone.
func BenchmarkClient(b *testing.B) {
	dir := socketDir(b)
	plugintest.Spawn(b, dir, plugin.Output, "p", plugintest.Script{})
	c := newRegistry(b, dir, nil).Client(plugin.Output, "p")
	waitLive(b, c)
	body := encode(b, &pb.Event{Raw: strings.Repeat("x", 500)})
	b.ReportAllocs()
	b.SetParallelism(inFlight / 2)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := c.EventOutput(context.Background(), body, plugin.CallOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkBare(b *testing.B) {
	dir := socketDir(b)
	plugintest.Spawn(b, dir, plugin.Output, "p", plugintest.Script{})
	waitLive(b, newRegistry(b, dir, nil).Client(plugin.Output, "p"))
	cc, err := grpc.NewClient("unix:"+filepath.Join(dir, plugin.SocketName(plugin.Output, "p")),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer cc.Close()
	event := &pb.Event{Raw: strings.Repeat("x", 500)}
	b.ReportAllocs()
	b.SetParallelism(inFlight / 2)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := pb.NewOutputClient(cc).EventOutput(context.Background(), event); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
