package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/google/go-cmp/cmp"
)

func presence(name string, plugins ...bridge.PluginPresence) bridge.Presence {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return bridge.Presence{Node: name, Version: "v1", Groups: []string{"default"}, Since: at, At: at, Ready: true, Plugins: plugins}
}

func names(list []bridge.NodePresence) (names []string) {
	for _, n := range list {
		names = append(names, fmt.Sprintf("%s %v", n.Node, n.Live))
	}
	return names
}

// A node is there while it says so; one that ends as it should is forgotten, and
// one that falls silent has vanished, which a watch is told of.
func TestNodesComeGoAndVanish(t *testing.T) {
	t.Parallel()
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		t.Parallel()
		ctx := t.Context()
		b := open()
		if _, err := b.Ensure(ctx, nil); err != nil {
			t.Fatal(err)
		}
		want := presence("eu.west 1", bridge.PluginPresence{Name: "cel", Kind: "analysis", State: "live", InFlight: 3})
		for _, p := range []bridge.Presence{want, presence("n2"), presence("n3")} {
			if err := b.Announce(ctx, p, 3*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Withdraw(ctx, "n2"); err != nil {
			t.Fatal(err)
		}
		list, err := b.Nodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"eu.west 1 true", "n3 true"}, names(list)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(want, list[0].Presence); diff != "" {
			t.Error(diff)
		}
		if !list[0].HasPlugin("analysis", "cel") || list[0].HasPlugin("parsing", "cel") || list[1].HasPlugin("analysis", "cel") {
			t.Error("HasPlugin does not say what the presence says")
		}

		watch, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		var told [][]string
		err = b.WatchNodes(watch, func(list []bridge.NodePresence) {
			told = append(told, names(list))
			if len(list) == 0 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("the watch ended with %v after %v", err, told)
		}
		if diff := cmp.Diff([]string{"eu.west 1 true", "n3 true"}, told[0]); diff != "" {
			t.Error(diff)
		}
		if list, err = b.Nodes(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"eu.west 1 false", "n3 false"}, names(list)); diff != "" {
			t.Error(diff)
		}
	})
}

// What a node says of itself fits a message whatever it runs; live plugins are
// the last that are left out.
func TestPresenceIsBounded(t *testing.T) {
	t.Parallel()
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	if _, err := b.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p := presence("n1")
	const absent, live = 2000, 300
	for i := range absent {
		p.Plugins = append(p.Plugins, bridge.PluginPresence{Name: fmt.Sprintf("absent-%048d", i), Kind: "parsing", State: "absent"})
	}
	for i := range live {
		p.Plugins = append(p.Plugins, bridge.PluginPresence{Name: fmt.Sprintf("live-%048d", i), Kind: "parsing", State: "live"})
	}
	if err := b.Announce(t.Context(), p, time.Minute); err != nil {
		t.Fatal(err)
	}
	list, err := b.Nodes(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	got := list[0]
	if got.PluginsCut == 0 || len(got.Plugins)+got.PluginsCut != absent+live {
		t.Errorf("%d plugins and %d cut, of %d", len(got.Plugins), got.PluginsCut, absent+live)
	}
	for i := range live {
		if !got.HasPlugin("parsing", fmt.Sprintf("live-%048d", i)) {
			t.Fatalf("live plugin %d was left out while absent ones are there", i)
		}
	}
}

// Many nodes may announce themselves at once.
func TestNodesAnnounceSideBySide(t *testing.T) {
	t.Parallel()
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	if _, err := b.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := b.Announce(t.Context(), presence(fmt.Sprintf("n%02d", i)), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := b.Nodes(t.Context()); err != nil || len(list) != 50 {
		t.Errorf("%d nodes, %v", len(list), err)
	}
}
