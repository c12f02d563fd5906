package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// NodesBucket keeps which nodes there are.
	NodesBucket = "EPMESH_NODES"

	// VanishedFor is how long it is known that a node was there which ended
	// without saying so.
	VanishedFor = time.Hour

	livePrefix = "live."
	seenPrefix = "seen."
	// maxPresence bounds one node's value.
	maxPresence = 64 << 10
	// maxPresenceText bounds a text in it.
	maxPresenceText = 256
)

// Presence is what a node says of itself again and again.
type Presence struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Groups  []string  `json:"groups,omitempty"`
	Since   time.Time `json:"since"` // when its process began
	At      time.Time `json:"at"`    // when it said this, by its own clock

	Ready      bool     `json:"ready"`
	NotReady   []string `json:"notReady,omitempty"`
	Durability string   `json:"durability,omitempty"`
	// Sync is how the node's embedded server syncs, "always" or an interval; empty
	// where it has none. PowerLoss: its nats.durability asks that a log outlives one.
	Sync      string `json:"sync,omitempty"`
	PowerLoss bool   `json:"powerLoss,omitempty"`
	// Fingerprint is of the pipelines it runs; Revision is the pushed revision
	// that they came with, 0 for none.
	Fingerprint string `json:"fingerprint,omitempty"`
	Revision    uint64 `json:"revision,omitempty"`

	Plugins []PluginPresence `json:"plugins,omitempty"`
	// PluginsCut is how many of its plugins are left out, where there are too
	// many for one message.
	PluginsCut int  `json:"pluginsCut,omitempty"`
	Load       Load `json:"load"`
}

// PluginPresence is one plugin of a node.
type PluginPresence struct {
	Name     string `json:"name"`
	Kind     string `json:"kind,omitempty"` // parsing, analysis, ...; empty for a process without a socket
	State    string `json:"state"`          // live: it can be called now
	InFlight int64  `json:"inFlight,omitempty"`
}

// Load is how much a node does.
type Load struct {
	Logs     float64 `json:"logs"`     // taken in a second
	Items    float64 `json:"items"`    // worked off a second, all stages
	InFlight int64   `json:"inFlight"` // items its stages hold
	CPU      float64 `json:"cpu"`      // cores in use by the node itself, without its plugins
	Memory   uint64  `json:"memory"`   // bytes resident, likewise
}

// NodePresence is a node as the mesh knows it.
type NodePresence struct {
	Presence
	// Live is false for a node that has vanished.
	Live bool `json:"live"`
	// Seen is when its last word was stored, by the server's clock.
	Seen time.Time `json:"seen"`
}

// HasPlugin reports whether the node can call this plugin now.
func (p Presence) HasPlugin(kind, name string) bool {
	return slices.ContainsFunc(p.Plugins, func(g PluginPresence) bool {
		return g.Kind == kind && g.Name == name && g.State == "live"
	})
}

func (b *Bridge) nodes() bucket { return bucket{b, NodesBucket} }

func (b *Bridge) ensureNodes(ctx context.Context) error { return b.nodes().ensure(ctx, VanishedFor) }

// Announce says that a node is there. Call it again within lasts, which is a
// second or more: after that the node counts as vanished.
func (b *Bridge) Announce(ctx context.Context, p Presence, lasts time.Duration) error {
	data, err := p.encode()
	if err != nil {
		return err
	}
	key := stateToken(p.Node)
	if err := b.nodes().put(ctx, seenPrefix+key, data, VanishedFor); err != nil {
		return err
	}
	return b.nodes().put(ctx, livePrefix+key, data, lasts)
}

// Withdraw says that a node ends as it should; it has not vanished then.
func (b *Bridge) Withdraw(ctx context.Context, node string) error {
	key := stateToken(node)
	if err := b.nodes().put(ctx, seenPrefix+key, nil, 0); err != nil {
		return err
	}
	return b.nodes().put(ctx, livePrefix+key, nil, 0)
}

// encode is the presence within its bound: first the plugins that are not live
// are left out, then the last ones.
func (p Presence) encode() ([]byte, error) {
	p.NotReady = slices.Clone(p.NotReady)
	for i := range p.NotReady {
		p.NotReady[i] = shorten(p.NotReady[i], maxPresenceText)
	}
	p.NotReady = p.NotReady[:min(len(p.NotReady), 16)]
	p.Groups = p.Groups[:min(len(p.Groups), 64)]
	p.Durability = shorten(p.Durability, 2*maxPresenceText)
	p.Plugins = slices.Clone(p.Plugins)
	slices.SortStableFunc(p.Plugins, func(a, b PluginPresence) int {
		return cmp.Compare(btoi(a.State != "live"), btoi(b.State != "live"))
	})
	for {
		data, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("presence: %w", err)
		}
		if len(data) <= maxPresence || len(p.Plugins) == 0 {
			return data, nil
		}
		cut := max(len(p.Plugins)/4, 1)
		p.Plugins, p.PluginsCut = p.Plugins[:len(p.Plugins)-cut], p.PluginsCut+cut
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// Nodes are the nodes that are there, and those that vanished within
// VanishedFor, by name.
func (b *Bridge) Nodes(ctx context.Context) ([]NodePresence, error) {
	var list []NodePresence
	live := map[string]bool{}
	for _, below := range []string{livePrefix, seenPrefix} {
		entries, err := b.nodes().list(ctx, below)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			n, ok := nodeOf(e)
			if !ok || live[n.Node] {
				continue
			}
			n.Live = below == livePrefix
			live[n.Node] = n.Live
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b NodePresence) int { return cmp.Compare(a.Node, b.Node) })
	return list, nil
}

func nodeOf(e bucketEntry) (NodePresence, bool) {
	n := NodePresence{Seen: e.stored}
	err := json.Unmarshal(e.value, &n.Presence)
	return n, err == nil && n.Node != ""
}

// WatchNodes calls seen with the nodes that are there, by name: once at the
// start, and then each time that one comes, goes or says something new. It
// returns when ctx ends, or with an error when the watch breaks; then the caller
// begins again. Calls come one after the other.
func (b *Bridge) WatchNodes(ctx context.Context, seen func([]NodePresence)) error {
	nodes, loaded := map[string]NodePresence{}, false
	tell := func() {
		list := make([]NodePresence, 0, len(nodes))
		for _, n := range nodes {
			list = append(list, n)
		}
		slices.SortFunc(list, func(a, b NodePresence) int { return cmp.Compare(a.Node, b.Node) })
		seen(list)
	}
	return b.nodes().watch(ctx, []string{livePrefix + ">"}, func(e bucketEntry) {
		if n, ok := nodeOf(e); ok {
			n.Live = true
			nodes[e.key] = n
		} else {
			delete(nodes, e.key)
		}
		if loaded {
			tell()
		}
	}, func() {
		loaded = true
		tell()
	})
}
