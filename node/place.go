package node

import (
	"slices"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

// placeStage is the stage as rules of mesh.place name it.
func placeStage(c bridge.Consumer) string {
	switch c.Stage {
	case "draft":
		return "parse"
	case "event-output", "alert-output":
		return "output"
	}
	return c.Stage
}

// placed are the consumers that a node of these groups may serve. The others are
// made all the same, so that their work waits for the nodes that may.
func placed(set *config.Set, groups []string, list []bridge.Consumer) []bridge.Consumer {
	return slices.DeleteFunc(slices.Clone(list), func(c bridge.Consumer) bool {
		return !set.Mesh.MayTake(placeStage(c), c.Plugin, groups)
	})
}

// mayParse reports whether a parsing plugin may be called here for a log or draft
// of a subject, where it is here at all: else drafts are handed over to a node
// where it may.
func mayParse(set *config.Set, groups []string) func(plugin, subject string) bool {
	items := map[string]*placing{}
	for _, name := range set.DynamicPlugins() {
		if rules := set.Mesh.Slices("parse", name); len(rules) > 0 {
			items[name] = &placing{groups: groups}
			items[name].set(rules)
		}
	}
	return func(plugin, subject string) bool {
		if !set.Mesh.MayTake("parse", plugin, groups) {
			return false
		}
		p := items[plugin]
		return p == nil || p.may(subject)
	}
}
