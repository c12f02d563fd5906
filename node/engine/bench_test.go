package engine_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/engine"
	pb "github.com/epmesh/epmesh/proto"
)

// instant stores nothing, at once.
type instant struct{}

func (instant) Publish(context.Context, ...bridge.Item) error { return nil }
func (instant) Dead(context.Context, ...engine.Refused) error { return nil }

// slow takes as long as a synced write, whatever the number of items.
type slow struct {
	instant
	d time.Duration
}

func (s slow) Publish(ctx context.Context, _ ...bridge.Item) error {
	select {
	case <-time.After(s.d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func benchLog() *pb.Log {
	return &pb.Log{
		Id: "0198f3a1-7c1e-7d6e-9c53-0a1b2c3d4e5f", DataType: "linux", DataSource: "web-1",
		Timestamp: "2026-01-02T03:04:05.123456789Z", TenantId: "default", Raw: strings.Repeat("sshd[1]: Failed ", 25),
	}
}

// BenchmarkInput is one or more senders with the official SDK's way of sending
// (a generated client that reads and discards Acks) over the real socket. Time
// and CPU are of both sides.
func BenchmarkInput(b *testing.B) {
	for _, tt := range []struct {
		name string
		pub  bridge.Publisher
	}{{"instant", instant{}}, {"2ms", slow{d: 2 * time.Millisecond}}} {
		for _, streams := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/streams=%d", tt.name, streams), func(b *testing.B) {
				srv, _ := start(b, engine.Options{Publisher: tt.pub, Dead: instant{}})
				send(b, srv.Path(), streams)
				b.ReportMetric(float64(srv.Inputs()[0].Acks)/float64(b.N), "acks/log")
			})
		}
	}
}

// bare is what a server made of the generated code does at least: it decodes
// each log, stores nothing, and acks each.
type bare struct{ pb.UnimplementedEngineServer }

func (bare) Input(st grpc.BidiStreamingServer[pb.Log, pb.Ack]) error {
	for {
		l, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.Send(&pb.Ack{LastId: l.Id}); err != nil {
			return err
		}
	}
}

// BenchmarkBare is the baseline of BenchmarkInput.
func BenchmarkBare(b *testing.B) {
	for _, streams := range []int{1, 4} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			path := filepath.Join(shortdir.New(b), "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				b.Fatal(err)
			}
			g := grpc.NewServer()
			pb.RegisterEngineServer(g, bare{})
			go g.Serve(l)
			defer g.Stop()
			send(b, path, streams)
		})
	}
}

// send sends b.N logs over a number of streams, each on a connection of its
// own, and waits until all are acked.
func send(b *testing.B, socket string, streams int) {
	var inputs []pb.Engine_InputClient
	for range streams {
		inputs = append(inputs, inputAt(b, socket))
	}
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for i, st := range inputs {
		n := b.N / streams
		if i == 0 {
			n += b.N % streams
		}
		wg.Go(func() {
			for {
				if _, err := st.Recv(); err != nil {
					if err != io.EOF {
						b.Error(err)
					}
					return
				}
			}
		})
		wg.Go(func() {
			l := benchLog()
			for range n {
				if err := st.Send(l); err != nil {
					b.Error(err)
					return
				}
			}
			st.CloseSend()
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logs/s")
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/log")
}

// BenchmarkLoneLog waits for each Ack before it sends the next log.
func BenchmarkLoneLog(b *testing.B) {
	srv, _ := start(b, engine.Options{Publisher: instant{}, Dead: instant{}})
	st := input(b, srv)
	l := benchLog()
	var times []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		if err := st.Send(l); err != nil {
			b.Fatal(err)
		}
		if _, err := st.Recv(); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
