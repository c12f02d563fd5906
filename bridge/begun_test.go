package bridge_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// What ends every node that takes it is not tried for ever, and what merely
// comes again is.
func TestWorkThatNeverEnds(t *testing.T) {
	s := bridgetest.Server(t)
	open := func() *bridge.Bridge {
		b := bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.AckWait = s, 300*time.Millisecond })
		ensure(t, b, topology...)
		return b
	}
	b := open()
	publish(t, b, item(bridge.LogSubject("t", "deadly"), "deadly"))
	ends := 0
	for dead := false; !dead; ends++ {
		if ends > 20 {
			t.Fatal("never given up")
		}
		ctx, cancel := context.WithCancel(t.Context())
		taken := make(chan struct{}, 1)
		ended := make(chan error, 1)
		var stats bridge.Stats
		go func(b *bridge.Bridge) {
			ended <- b.Consume(ctx, bridge.Work{
				Consumer: bridge.ParseConsumer(), Parallel: 1, Within: 1, Stats: &stats,
				Handler: func(ctx context.Context, _ bridge.Item) ([]bridge.Item, error) {
					taken <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				},
			})
		}(b)
		for waiting := true; waiting; {
			select {
			case <-taken:
				// The connection goes with the work in hand, as when the node is killed.
				b.Close()
				waiting = false
			case <-time.After(20 * time.Millisecond):
				dead = stats.Snapshot().Dead == 1
				waiting = !dead
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Log(err) // the connection is gone
		}
		if !dead {
			b = open()
		}
	}
	letters := deadLetters(t, b)
	if len(letters) != 1 || !strings.Contains(letters[0].Reason, "never finished") {
		t.Fatalf("dead letters %+v", letters)
	}
	if ends < 6 {
		t.Errorf("given up after %d ends", ends)
	}

	// Given back on purpose it is no such thing.
	publish(t, b, item(bridge.EventSubject("t", "d"), "waits"))
	back := 0
	done := newLedger(1)
	consume(t, b, bridge.Work{
		Consumer: bridge.AnalysisConsumer("one"), Parallel: 1, Within: 1,
		Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			if back++; back < 2 {
				return nil, bridge.Wait(errors.New("not there"))
			}
			done.add(string(it.Body))
			return nil, nil
		},
	})
	done.wait(t)
	if n := len(deadLetters(t, b)); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
