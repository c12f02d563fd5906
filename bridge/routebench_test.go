package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// BenchmarkRoute measures what an affinity costs: items a second that are routed
// to 64 partitions and worked on there, with every write synced and without, and
// as a part of those that one hop moves a second in the same run.
//
//	go test ./bridge -run '^$' -bench Route
func BenchmarkRoute(b *testing.B) {
	for _, s := range []struct {
		name string
		sync time.Duration
	}{{"relaxed", 2 * time.Minute}, {"always", 0}} {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				rate := routeRate(b, s.sync, 200_000)
				b.ReportMetric(rate, "items/s")
				b.ReportMetric(rate/200_000*bridgeHop(b, s.sync, 200_000, strings.Repeat("x", 500)).Seconds(), "of-hop")
			}
		})
	}
}

func routeRate(b *testing.B, interval time.Duration, n int) float64 {
	srv := bridgetest.ServerIn(b, b.TempDir(), interval)
	br := bridgetest.Open(b, func(o *bridge.Options) { o.Server = srv })
	c := bridge.AnalysisConsumer("count")
	c.Affinity = bridge.Affinity{Key: "key"}
	if _, err := br.Ensure(b.Context(), []bridge.Consumer{c}); err != nil {
		b.Fatal(err)
	}
	body := strings.Repeat("x", 500)
	for first := 0; first < n; first += 10_000 {
		var items []bridge.Item
		for i := range 10_000 {
			text := fmt.Sprintf("key%d %d %s", (first+i)%5000, first+i, body)
			items = append(items, bridge.Item{ID: bridge.NewID([]byte(text)), Subject: bridge.EventSubject("t", "d"), Body: []byte(text)})
		}
		if err := br.Publish(b.Context(), items...); err != nil {
			b.Fatal(err)
		}
	}
	l := br.Leases(bridge.LeaseOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	kept, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { _ = l.Serve(kept) })
	var done, began atomic.Int64
	finished := make(chan struct{})
	work := bridge.Work{
		Consumer: c, Parallel: 64, Within: 64,
		Handler: func(context.Context, bridge.Item) ([]bridge.Item, error) {
			began.CompareAndSwap(0, time.Now().UnixNano())
			if done.Add(1) == int64(n) {
				close(finished)
			}
			return nil, nil
		},
	}
	all.Go(func() {
		defer end()
		if err := br.ServeKeyed(ctx, bridge.KeyedWork{Work: work, Leases: l, Key: keyOf}); err != nil {
			b.Error(err)
		}
	})
	<-finished
	rate := float64(n) / time.Since(time.Unix(0, began.Load())).Seconds()
	cancel()
	return rate
}
