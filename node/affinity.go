package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/stage"
)

// keyedGrace is plugGrace where a plugin has an affinity: its keys are better off
// with another instance soon.
const keyedGrace = 5 * time.Second

// withAffinity gives the consumers of a configuration the affinity that it asks
// for.
func withAffinity(set *config.Set, list []bridge.Consumer) []bridge.Consumer {
	for i, c := range list {
		if a, ok := set.Mesh.Affinity[c.Plugin]; ok && c.Stage != "draft" {
			list[i].Affinity = bridge.Affinity{Key: a.Key, Parts: a.Partitions}
		}
	}
	return list
}

// checkAffinity says what of mesh.affinity cannot be done.
func checkAffinity(set *config.Set) (errs, warnings []string) {
	for _, c := range Consumers(set) {
		if c.Affinity.Key == "" {
			continue
		}
		if _, err := stage.Key(c); err != nil {
			errs = append(errs, fmt.Sprintf("%s: error: %s", set.Mesh.Affinity[c.Plugin].Position, err))
		}
	}
	for _, name := range set.DynamicPlugins() {
		if a, ok := set.Mesh.Affinity[name]; ok && !slices.ContainsFunc(Consumers(set), func(c bridge.Consumer) bool {
			return c.Plugin == name && c.Affinity.Key != ""
		}) {
			warnings = append(warnings, fmt.Sprintf("%s: warning: mesh.affinity.%s: a parsing plugin's drafts go to any instance", a.Position, name))
		}
	}
	return slices.Compact(errs), warnings
}

// consume takes the consumer's items until ctx ends.
func (w *worker) consume(ctx context.Context) error {
	if w.n.hub != nil {
		return w.n.hub.Forward(ctx, w.work())
	}
	if w.consumer.Affinity.Key == "" {
		return w.n.bridge.Consume(ctx, w.work())
	}
	key, err := stage.Key(w.consumer)
	if err != nil {
		return err
	}
	return w.n.bridge.ServeKeyed(ctx, bridge.KeyedWork{Work: w.work(), Leases: w.n.leases, Key: key, Keyed: &w.keyed})
}

func (w *worker) grace() time.Duration {
	if w.consumer.Affinity.Key != "" {
		return keyedGrace
	}
	return plugGrace
}

// AffinityStatus is how a node stands with a consumer that has an affinity.
type AffinityStatus struct {
	Key string `json:"key"`
	// Partitions are those that this node serves now; Taken counts how often it
	// took one.
	Partitions int64 `json:"partitions"`
	Taken      int64 `json:"taken"`
	// Of is how many there are; 0: not known yet.
	Of int64 `json:"of,omitempty"`
	// Routing: this node brings items to the partition of their key. It has
	// brought Routed of them.
	Routing bool  `json:"routing"`
	Routed  int64 `json:"routed"`
}

func (w *worker) affinity() *AffinityStatus {
	if w.consumer.Affinity.Key == "" {
		return nil
	}
	k := w.keyed.Snapshot()
	return &AffinityStatus{Key: w.consumer.Affinity.Key, Partitions: k.Held, Of: k.Parts, Taken: k.Taken, Routing: k.Routing, Routed: k.Routed}
}
