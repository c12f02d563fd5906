package bridge_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// An alert that all consumers have done, and that is stored again after the
// server was started again, is still known.
func TestAlertIsKnownAfterRestart(t *testing.T) {
	dir := t.TempDir()
	alert := item(bridge.AlertSubject("t", "d"), "alert")
	calls := newLedger(1)
	for range 3 {
		s := bridgetest.ServerIn(t, dir, time.Minute)
		b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
		ensure(t, b, topology...)
		stopKeeper := keep(t, b)
		var stats bridge.Stats
		stop := consume(t, b, bridge.Work{Consumer: bridge.CorrelationConsumer("c"), Parallel: 2, Handler: calls.handler, Stats: &stats})
		publish(t, b, alert)
		calls.wait(t)
		drained(t, b, &stats, "correlation-c")
		stop()
		stopKeeper()
		b.Close()
		s.Shutdown()
	}
	if n := calls.seen["alert"]; n != 1 {
		t.Errorf("the alert came %d times", n)
	}
}

// What is kept is let go after the duplicate window.
func TestKeeperLetsGo(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open(func(o *bridge.Options) { o.Duplicates = 1500 * time.Millisecond })
		ensure(t, b)
		keep(t, b)
		const n = 300
		for i := range n {
			publish(t, b, item(bridge.AlertSubject("t", "d"), fmt.Sprint("alert ", i)))
		}
		held := func() int {
			states, _, err := b.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range states {
				if s.Name == bridge.StreamAlert {
					return int(s.Messages)
				}
			}
			return -1
		}
		if h := held(); h != n {
			t.Errorf("%d of %d alerts are kept", h, n)
		}
		for deadline := time.Now().Add(20 * time.Second); held() > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%d alerts are kept for ever", held())
			}
		}
	})
}

// A stream that is bounded is not filled by what is kept.
func TestKeeperMakesRoom(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.MaxStore = bridgetest.Server(t), 1<<20 })
	ensure(t, b)
	keep(t, b)
	body := make([]byte, 10<<10)
	for i := range 500 {
		body[0], body[1] = byte(i), byte(i>>8)
		publish(t, b, item(bridge.AlertSubject("t", "d"), string(body)))
	}
}

func keep(t *testing.T, b *bridge.Bridge) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Keep(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}
