package bridge_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// A message of a plugin that is sent again beside others is known again.
func TestMessagesOfPluginsAreStoredOnce(t *testing.T) {
	s := bridgetest.Server(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
	// Somebody whom they are kept for.
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{bridge.NotificationConsumer("n", nil, nil)}); err != nil {
		t.Fatal(err)
	}
	const messages = 200
	for round := range 3 {
		var group sync.WaitGroup
		for n := range messages {
			group.Go(func() {
				n := (n*7 + round) % messages
				body := fmt.Append(nil, n)
				if err := b.Publish(t.Context(), bridge.Item{ID: bridge.NewID(body), Subject: bridge.MessageSubject("x"), Body: body}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	states, _, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range states {
		if st.Name == bridge.StreamMessage && st.Messages != messages {
			t.Errorf("%d messages stored, want %d", st.Messages, messages)
		}
	}
}
