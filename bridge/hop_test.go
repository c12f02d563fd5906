package bridge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// BenchmarkHop measures one hop between stages: take from one stream, hand
// over, store in the next, acknowledge. The bare client does it with one
// message a log, asynchronously and pipelined.
//
// "x-bare" is how many times as many logs a second the bridge moves in the same
// run, and at least 5 are wanted; "of-relaxed" is what sync always leaves of
// the rate with a sync every two minutes, and at least 0.5 is wanted.
//
//	go test ./bridge -run '^$' -bench Hop
func BenchmarkHop(b *testing.B) {
	const rounds, logs = 3, 200_000
	syncs := []struct {
		name     string
		interval time.Duration
		bare     int
	}{{"relaxed", 2 * time.Minute, 50_000}, {"always", 0, 4_000}}
	body := strings.Repeat("x", 500)
	bare, ours := map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		for range rounds {
			for _, s := range syncs {
				bare[s.name] = append(bare[s.name], float64(s.bare)/bareHop(b, s.interval, s.bare, body).Seconds())
				ours[s.name] = append(ours[s.name], float64(logs)/bridgeHop(b, s.interval, logs, body).Seconds())
			}
		}
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	for _, s := range syncs {
		b.ReportMetric(median(ours[s.name]), s.name+"-logs/s")
		b.ReportMetric(median(ours[s.name])/median(bare[s.name]), s.name+"-x-bare")
	}
	b.ReportMetric(median(ours["always"])/median(ours["relaxed"]), "of-relaxed")
	b.ReportMetric(0, "ns/op")
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
