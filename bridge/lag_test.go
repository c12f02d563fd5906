package bridge_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// The lag is of what is not done: its messages, about as many items as they
// hold, and the time since the oldest was stored. Other consumers, and what was
// done, do not count.
func TestLags(t *testing.T) {
	t.Parallel()
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	parse, one, two := bridge.ParseConsumer(), bridge.DraftConsumer("one"), bridge.DraftConsumer("two")
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{parse, one, two}); err != nil {
		t.Fatal(err)
	}
	lags := func() map[string]bridge.Lag {
		t.Helper()
		l, err := b.Lags(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := lags()[parse.Name()]; l != (bridge.Lag{}) {
		t.Errorf("with nothing stored it is %+v", l)
	}
	const items = 3000
	var batch []bridge.Item
	for i := range items {
		batch = append(batch, bridge.Item{ID: bridge.NewID([]byte(fmt.Sprint(i))), Subject: bridge.LogSubject("t", "d"), Body: []byte("x")})
	}
	began := time.Now()
	if err := b.Publish(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	oldest := bridge.NewID([]byte("draft 1"))
	for i, plugin := range []string{"one", "two", "two"} {
		if err := b.Publish(t.Context(), bridge.Item{ID: bridge.NewID(fmt.Appendf(nil, "draft %d", i)), Subject: bridge.DraftSubject(plugin, "t", "d"), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var l map[string]bridge.Lag
	eventually(t, "the consumers have heard of what is stored", func() bool {
		l = lags()
		return l[parse.Name()].Messages > 0 && l[one.Name()].Messages > 0 && l[two.Name()].Messages > 1
	})
	if got := l[parse.Name()]; got.Messages == 0 || got.Items < items/2 || got.Items > 2*items {
		t.Errorf("of %d items it says %+v", items, got)
	}
	// The server is in this process, so its clock is ours.
	if got := l[parse.Name()].Oldest; got.Before(began.Add(-time.Second)) || got.After(time.Now().Add(time.Second)) {
		t.Errorf("the oldest came at %s, after %s", got, began)
	}
	if a, b := l[one.Name()], l[two.Name()]; a.Messages != 1 || a.Items != 1 || b.Messages != 2 || b.Items != 2 || b.Oldest.IsZero() {
		t.Errorf("drafts: %+v, %+v", a, b)
	}

	// When one of two is done, the other is the oldest.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- b.Consume(ctx, bridge.Work{Consumer: two, Parallel: 1, Handler: func(ctx context.Context, it bridge.Item) ([]bridge.Item, error) {
			if it.ID == oldest {
				return nil, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	}()
	for ctx.Err() == nil {
		if got := lags()[two.Name()]; got.Messages == 1 && got.Oldest.After(l[two.Name()].Oldest) {
			break
		}
	}
	if ctx.Err() != nil {
		t.Errorf("after one of two is done it is %+v, before %+v", lags()[two.Name()], l[two.Name()])
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
