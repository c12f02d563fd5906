package node

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

// edge reports whether the node is an edge: what comes in on its engine socket is
// stored here and goes on to a hub, where the work on it is done.
func (n *Node) edge() bool { return n.settings.NATS.Edge() }

func leaf(l config.Leaf) bridge.LeafOptions {
	return bridge.LeafOptions{URLs: l.URLs(), Credentials: l.Credentials, TLS: tlsFiles(l.TLS), Insecure: l.Insecure}
}

func edges(e config.Edges) bridge.EdgesOptions {
	return bridge.EdgesOptions{Listen: e.Listen, Users: e.Users, TLS: tlsFiles(e.TLS), Insecure: e.Insecure}
}

// consumers are what this node's streams need under a configuration.
func (n *Node) consumers(set *config.Set) []bridge.Consumer {
	if n.edge() {
		return bridge.ForwardConsumers()
	}
	return Consumers(set)
}

// edgeServices watch the link to the hub.
func (n *Node) edgeServices() []Service {
	if n.hub == nil {
		return nil
	}
	return []Service{named("hub", n.hub.Serve)}
}

// hubState is for metrics; nil for a node that is no edge.
func (n *Node) hubState() func() (up bool, losses int64) {
	if n.hub == nil {
		return nil
	}
	return func() (bool, int64) {
		s := n.hub.Status()
		return s.Up, s.Losses
	}
}

// mayRun reports whether a bundled plugin, served under a name, is started here.
// On an edge, where there is work for no other, only inputs are.
func (n *Node) mayRun(set *config.Set, served, name string) bool {
	if n.edge() {
		for _, order := range set.Order {
			if slices.Contains(order, served) {
				return false
			}
		}
		if n.opts.BundledKind != nil && n.opts.BundledKind(name) != "input" {
			return false
		}
	}
	return set.Mesh.MayRun(served, n.settings.Groups)
}

// concerning leaves out that there is no pipeline folder where none is needed.
func (n *Node) concerning(report config.Report) config.Report {
	if _, err := os.Stat(n.settings.PipelineDir()); n.edge() && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return report
}
