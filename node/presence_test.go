package node_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

// A node says that it is there with what runs on it, and a stop takes that back.
func TestPresence(t *testing.T) {
	url := bridgetest.External(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "plugins: {analysis: {order: [one]}}\n")
	n := start(t, dir, func(s *config.Settings) { s.NATS.URL, s.Groups = url, []string{"edge", "dmz"} })
	plugintest.Start(t, n.sockets(), plugin.Analysis, "one", plugintest.Script{})
	ctx, found := context.WithTimeout(t.Context(), time.Minute)
	defer found()
	err := b.WatchNodes(ctx, func(nodes []bridge.NodePresence) {
		if len(nodes) == 1 && nodes[0].HasPlugin("analysis", "one") {
			found()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the node never said that its plugin is live: %v", err)
	}
	list, err := b.Nodes(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	p := list[0]
	if p.Node != "n1" || p.Version != "test" || len(p.Groups) != 2 || !p.Ready || !p.Live || p.Fingerprint == "" || p.Durability == "" || p.Load.Memory == 0 {
		t.Errorf("%+v", p)
	}
	n.stop()
	if list, err := b.Nodes(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("after a stop it is %+v, %v", list, err)
	}
}
