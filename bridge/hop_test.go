package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// BenchmarkHop measures one hop between stages: take from one stream, hand
// over, store in the next, acknowledge. The bare client does it with one
// message a log, asynchronously and pipelined; "x-bare" is how many times as
// many logs a second the bridge moves in the same run.
//
//	go test ./bridge -run '^$' -bench Hop -benchtime 3x
func BenchmarkHop(b *testing.B) {
	for _, sync := range []struct {
		name       string
		interval   time.Duration
		logs, bare int
	}{{"sync=2m", 2 * time.Minute, 200_000, 50_000}, {"sync=always", 0, 200_000, 4_000}} {
		b.Run(sync.name, func(b *testing.B) {
			body := strings.Repeat("x", 500)
			var bare, ours time.Duration
			for b.Loop() {
				bare += bareHop(b, sync.interval, sync.bare, body)
				ours += bridgeHop(b, sync.interval, sync.logs, body)
			}
			bareRate := float64(b.N*sync.bare) / bare.Seconds()
			rate := float64(b.N*sync.logs) / ours.Seconds()
			b.ReportMetric(bareRate, "bare-logs/s")
			b.ReportMetric(rate, "logs/s")
			b.ReportMetric(rate/bareRate, "x-bare")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func bridgeHop(b *testing.B, interval time.Duration, n int, body string) time.Duration {
	s := bridgetest.ServerIn(b, b.TempDir(), interval)
	defer s.Shutdown()
	br := bridgetest.Open(b, func(o *bridge.Options) { o.Server = s })
	defer br.Close()
	ensure(b, br, bridge.ParseConsumer(), bridge.AnalysisConsumer("a"))
	items := make([]bridge.Item, n)
	for i := range items {
		items[i] = item(bridge.LogSubject("t", "d"), fmt.Sprint(i, body))
	}
	publish(b, br, items...)
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan struct{})
	began := time.Now()
	stop := consume(b, br, bridge.Work{
		Consumer: bridge.ParseConsumer(), Parallel: 256, Within: 1,
		Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			it.ID, it.Subject = it.ID.Derive("parse", 0), bridge.EventSubject("t", "d")
			return []bridge.Item{it}, nil
		},
		Done: func(bridge.Item, []bridge.Item, time.Duration) {
			if left.Add(-1) == 0 {
				close(done)
			}
		},
	})
	<-done
	took := time.Since(began)
	stop()
	return took
}

func bareHop(b *testing.B, interval time.Duration, n int, body string) time.Duration {
	bare := bridgetest.NewBare(b, interval, "A", "B")
	var stored []bridgetest.Stored
	for i := range n {
		s, err := bare.Publish("A", fmt.Append(nil, i, body))
		if err != nil {
			b.Fatal(err)
		}
		stored = append(stored, s)
	}
	for _, s := range stored {
		if err := s.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	if err := bare.Hop("A", "B", n, func(data []byte) ([]byte, error) { return data, nil }); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
