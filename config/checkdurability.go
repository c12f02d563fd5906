package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What nats.durability may ask a log to survive once it is acked.
const (
	SurviveCrash      = "crash"       // the end of a process, however it comes
	SurvivePowerLoss  = "power-loss"  // of all machines at once
	SurviveServerLoss = "server-loss" // of one NATS server with its disk
)

// Survivals are all of them.
var Survivals = []string{SurviveCrash, SurvivePowerLoss, SurviveServerLoss}

// leastReplicas is how many copies survive the loss of one server: of two there is
// no majority left.
const leastReplicas = 3

// Asks reports whether nats.durability asks for it.
func (n NATS) Asks(what string) bool { return slices.Contains(n.Durability, what) }

// checkDurability checks that the settings do not contradict what is asked. What
// the servers have to be asked for is checked at the node's start.
func (l *loader) checkDurability() {
	n := &l.settings.NATS
	for _, what := range n.Durability {
		if slices.Contains(Survivals, what) {
			continue
		}
		hint := "leave it empty to ask for nothing"
		if meant := Suggest(what, Survivals); meant != "" {
			hint = fmt.Sprintf("did you mean %s?", meant)
		}
		l.fail("nats.durability", hint, "%q is none of %s", what, strings.Join(Survivals, ", "))
	}
	if n.ExternalSync != "" && n.ExternalSync != "always" {
		if d, err := time.ParseDuration(n.ExternalSync); err != nil || d <= 0 {
			l.fail("nats.external_sync", "", `%q is neither "always" nor an interval such as 2m`, n.ExternalSync)
		}
	}
	if at := l.origin["nats.external_sync"]; n.Embedded() && at.File != "" {
		l.addAt(RuleIgnoredKey, at, Warning, "remove it, or set nats.sync", "nats.external_sync has no effect: it is for an external server, and this node embeds its own")
	}
	if n.Asks(SurvivePowerLoss) {
		l.checkPowerLoss(n)
	}
	if n.Asks(SurviveServerLoss) && n.Replicas < leastReplicas {
		hint := "set nats.replicas: 3, with three servers at least"
		if n.Edge() {
			hint = "an edge is one server, and has a log alone until the hub has stored it: ask for it at the hub's nodes"
		} else if n.Embedded() && !n.Clustered() {
			hint = "give nats.cluster of three nodes or more, or the nats.url of a cluster, with nats.replicas: 3"
		}
		l.fail("nats.durability", hint+", or do not ask for it",
			"server-loss is asked for, and nats.replicas is %d: after the loss of one server there is no majority of copies", n.Replicas)
	}
}

func (l *loader) checkPowerLoss(n *NATS) {
	const or = ", or do not ask for it"
	switch {
	case n.Embedded() && n.Sync != "always":
		l.fail("nats.durability", "set nats.sync: always"+or, "power-loss is asked for, and nats.sync is %s: what was acked after the last sync would be lost", n.Sync)
	case n.Embedded():
	case n.ExternalSync == "":
		l.fail("nats.durability", "if its configuration has jetstream { sync_interval: always }, say so with nats.external_sync: always"+or, "power-loss is asked for, and an external server cannot be asked when it syncs")
	case n.ExternalSync != "always":
		l.fail("nats.durability", "set sync_interval: always at the servers, and nats.external_sync: always here"+or, "power-loss is asked for, and nats.external_sync is %s: what was acked after the last sync would be lost", n.ExternalSync)
	}
}
