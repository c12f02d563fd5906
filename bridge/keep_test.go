package bridge_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// After a restart of the server an alert that everybody has taken is still known
// by its id, for the duplicate window; after that it is let go.
func TestAlertIdsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	open := func() (*bridge.Server, *bridge.Bridge) {
		s := bridgetest.ServerIn(t, dir, time.Minute)
		b := bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.Duplicates = s, 3*time.Second })
		ensure(t, b, topology...)
		return s, b
	}
	const n = 300
	alerts := make([]bridge.Item, n)
	for i := range alerts {
		alerts[i] = item(bridge.AlertSubject("t", "d"), fmt.Sprint("alert ", i))
	}
	var taken atomic.Int64
	work := func(b *bridge.Bridge, stats *bridge.Stats) func() {
		return consume(t, b, bridge.Work{Consumer: bridge.CorrelationConsumer("c"), Parallel: 8, Within: 1, Stats: stats, Handler: func(context.Context, bridge.Item) ([]bridge.Item, error) {
			taken.Add(1)
			return nil, nil
		}})
	}
	s, b := open()
	var stats bridge.Stats
	stop := work(b, &stats)
	began := time.Now()
	for _, a := range alerts {
		publish(t, b, a)
	}
	drained(t, b, &stats, "correlation-c")
	stop()
	b.Close()
	s.Shutdown()

	_, b = open()
	var again bridge.Stats
	stop = work(b, &again)
	defer stop()
	for _, a := range alerts {
		publish(t, b, a)
	}
	drained(t, b, &again, "correlation-c")
	if took := time.Since(began); taken.Load() != n && took < 2*time.Second {
		t.Errorf("%d alerts were taken of %d, after %s", taken.Load(), n, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- b.Keep(ctx) }()
	for {
		states, _, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(states, func(s bridge.StreamState) bool { return s.Name == bridge.StreamAlert })
		if states[i].Messages == 0 {
			break
		}
		if time.Since(began) > 40*time.Second {
			t.Fatalf("%d alerts are still kept", states[i].Messages)
		}
	}
	cancel()
	if err := <-kept; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("let go after %s", took)
	}
}
