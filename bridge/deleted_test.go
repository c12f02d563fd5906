package bridge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// A consumer that somebody deletes while it is served ends with an error, not in
// silence.
func TestDeletedConsumerEndsConsume(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	ensure(t, b, topology...)
	ended := make(chan error, 1)
	one := newLedger(1)
	go func() {
		ended <- b.Consume(t.Context(), bridge.Work{Consumer: bridge.AnalysisConsumer("one"), Handler: one.handler})
	}()
	publish(t, b, item(bridge.EventSubject("t", "d"), "event"))
	one.wait(t)
	if err := b.Prune(t.Context(), "analysis-one"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("consume: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}
