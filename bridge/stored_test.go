package bridge_test

import (
	"slices"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// What a stream holds is shown, by tenant and data type; what is done is not.
func TestStored(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{bridge.ParseConsumer(), bridge.DraftConsumer("geo.ip")}); err != nil {
		t.Fatal(err)
	}
	draft := bridge.DraftSubject("geo.ip", "a", "x")
	items := []bridge.Item{
		item(bridge.LogSubject("a", "x"), "one"), item(bridge.LogSubject("b", "x"), "two"),
		item(bridge.LogSubject("a", "x"), "three"), item(draft, "draft"),
		item(bridge.EventSubject("a", "x"), "nobody takes it"),
	}
	for _, it := range items {
		if err := b.Publish(t.Context(), it); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(f bridge.TapFilter) (bodies []string) {
		t.Helper()
		if err := b.Stored(t.Context(), f, func(it bridge.Item) bool {
			bodies = append(bodies, string(it.Body))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return bodies
	}
	for _, test := range []struct {
		filter bridge.TapFilter
		want   []string
	}{
		{bridge.TapFilter{Stage: "logs"}, []string{"one", "two", "three"}},
		{bridge.TapFilter{Stage: "logs", Tenant: "a", DataType: "x"}, []string{"one", "three"}},
		{bridge.TapFilter{Stage: "logs", Tenant: "c"}, nil},
		{bridge.TapFilter{Stage: "drafts", DataType: "x"}, []string{"draft"}},
		{bridge.TapFilter{Stage: "events"}, nil},
	} {
		if got := stored(test.filter); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.filter, got, test.want)
		}
	}
	if err := b.Stored(t.Context(), bridge.TapFilter{Stage: "dead"}, nil); err == nil {
		t.Error("dead letters are read by DeadLetters")
	}
	if got := bridge.DraftPlugin(draft); got != "geo.ip" {
		t.Errorf("the draft waits for %q", got)
	}
	if got := bridge.DraftPlugin(items[0].Subject); got != "" {
		t.Errorf("a log waits for %q", got)
	}
}
