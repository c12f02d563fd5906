package node

import (
	"maps"
	"slices"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/stage"
)

// Consumers are what a configuration asks for. Every plugin of an order gets
// every item of its stage.
func Consumers(set *config.Set) []bridge.Consumer {
	list := []bridge.Consumer{bridge.ParseConsumer()}
	for _, name := range set.DynamicPlugins() {
		list = append(list, bridge.DraftConsumer(name))
	}
	for _, name := range unique(set.Order["analysis"]) {
		list = append(list, bridge.AnalysisConsumer(name))
	}
	for _, name := range unique(set.Order["correlation"]) {
		list = append(list, bridge.CorrelationConsumer(name))
	}
	for _, name := range unique(set.Order["notification"]) {
		list = append(list, bridge.NotificationConsumer(name, set.Topics(name), stage.EngineTopics))
	}
	for _, name := range unique(set.Order["output"]) {
		list = append(list, bridge.EventOutputConsumer(name), bridge.AlertOutputConsumer(name))
	}
	return withAffinity(set, list)
}

// engineTopics are those of the engine's own topics that somebody asks for.
func engineTopics(set *config.Set) []string {
	wanted := map[string]bool{}
	for _, name := range set.Order["notification"] {
		for _, topic := range set.Topics(name) {
			if slices.Contains(stage.EngineTopics, topic) {
				wanted[topic] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(wanted))
}

// socketKind is the socket that a consumer's plugin serves.
func socketKind(c bridge.Consumer) plugin.Kind {
	switch c.Stage {
	case "draft":
		return plugin.Parsing
	case "analysis":
		return plugin.Analysis
	case "correlation":
		return plugin.Correlation
	case "notification":
		return plugin.Notification
	case "event-output", "alert-output":
		return plugin.Output
	}
	return ""
}

func unique(names []string) []string {
	var list []string
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
