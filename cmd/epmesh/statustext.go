package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
)

// meshText is how the mesh stands, as tables for people.
func meshText(m meshJSON, now time.Time, width int) string {
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	add(nodesText(m, now, width))
	add(pluginsText(m.Nodes, width))
	add(stagesText(m.Stages, now, width))
	add(streamsText(m, width))
	add(notesText(m, now))
	return strings.Join(parts, "\n")
}

// table aligns rows; the first is the head. Each line is cut to the width.
func table(width int, rows [][]string) string {
	if len(rows) < 2 {
		return ""
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable(cmp.Or(cell, "-"))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush() // into memory: it cannot fail
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(fit(strings.TrimRight(line, "\n"), width) + "\n")
	}
	return out.String()
}

func nodesText(m meshJSON, now time.Time, width int) string {
	rows := [][]string{{"NODE", "STATE", "VERSION", "UP", "LOGS/S", "STREAMS", "HTTP"}}
	for _, n := range m.Nodes {
		var streams int64
		for _, in := range n.Input {
			streams += in.Streams
		}
		rows = append(rows, []string{n.Node, readyText(n), n.Version, age(now.Sub(n.Since)), rateText(logRate(n)), fmt.Sprint(streams), n.Addresses.HTTP})
	}
	for _, p := range m.silent() {
		rows = append(rows, []string{p.Node, silentText(p), p.Version, "", "", "", ""})
	}
	return table(width, rows)
}

func readyText(n node.Status) string {
	if n.Ready {
		return "ready"
	}
	return "not ready"
}

// silentText is the state of a node that gives no answer.
func silentText(p bridge.NodePresence) string {
	if p.Live {
		return "no answer"
	}
	return "vanished"
}

// logRate is how many logs a second come in.
func logRate(n node.Status) (rate float64) {
	for _, in := range n.Input {
		if in.Kind == "log" {
			rate += in.Rate
		}
	}
	return rate
}

func pluginsText(nodes []node.Status, width int) string {
	rows := [][]string{{"PLUGIN", "KIND", "NODE", "STATE", "CALLS", "FAILED", "NOTE"}}
	for _, n := range nodes {
		for _, p := range n.Plugins {
			row := []string{p.Name, cmp.Or(p.Kind, "process"), n.Node, p.State, "", "", pluginNote(p)}
			if p.Socket != nil {
				row[4], row[5] = fmt.Sprint(p.Socket.Calls), fmt.Sprint(p.Socket.Failures)
			}
			rows = append(rows, row)
		}
	}
	return table(width, rows)
}

// pluginNote is what a plugin's state leaves open.
func pluginNote(p node.PluginStatus) string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if p.Note != "" {
		add("%s", p.Note)
	}
	if s := p.Socket; s != nil && s.Reason != "" {
		add("%s", s.Reason)
	}
	if s := p.Socket; s != nil && s.Lane {
		add("by lane")
	}
	if s := p.Process; s != nil {
		for _, l := range s.Listening {
			add("%s %s", l.Network, l.Address)
		}
		if s.Restarts > 0 {
			add("%s", count(s.Restarts, "restart"))
			if s.LastExit != "" {
				add("last %s", s.LastExit)
			}
		}
	}
	return strings.Join(notes, ", ")
}

func stagesText(stages []stageJSON, now time.Time, width int) string {
	rows := [][]string{{"STAGE", "PLUGIN", "SERVED", "PENDING", "OLDEST", "RATE/S", "IN", "OUT", "DROPPED", "DEAD", "RETRIED", "BUSY"}}
	for _, s := range stages {
		pending := fmt.Sprint(s.Pending)
		if s.Pending < 0 {
			pending = "?"
		}
		served := fmt.Sprintf("%d/%d", len(s.Serving), len(s.Nodes))
		if len(s.Nodes) == 0 {
			served = "nobody"
		}
		rows = append(rows, []string{
			s.Stage, s.Plugin, served, pending, s.oldest(now), rateText(s.Rate),
			fmt.Sprint(s.In), fmt.Sprint(s.Out), fmt.Sprint(s.Dropped), fmt.Sprint(s.Dead), fmt.Sprint(s.Retried), fmt.Sprint(s.InFlight),
		})
	}
	return table(width, rows)
}

func streamsText(m meshJSON, width int) string {
	rows := [][]string{{"STREAM", "MESSAGES", "SIZE", "LIMIT", "REPLICAS"}}
	for _, s := range m.Streams {
		limit := "none"
		if s.MaxBytes > 0 {
			limit = sizeText(uint64(s.MaxBytes))
		}
		rows = append(rows, []string{s.Name, fmt.Sprint(s.Messages), sizeText(s.Bytes), limit, replicasText(s)})
	}
	return table(width, rows)
}

// notesText is what does not fit into a table and wants somebody's attention.
func notesText(m meshJSON, now time.Time) string {
	var b strings.Builder
	note := func(format string, args ...any) { b.WriteString(printable(fmt.Sprintf(format, args...)) + "\n") }
	said := map[string]bool{}
	for _, n := range m.Nodes {
		if n.Durability != "" && !said[n.Durability] {
			said[n.Durability] = true
			note("%s", n.Durability)
		}
	}
	for _, n := range m.Nodes {
		if n.Hub != nil {
			note("%s", hubText(n, now))
		}
		for _, reason := range n.NotReady {
			note("node %s is not ready: %s", n.Node, reason)
		}
		for _, problem := range n.Config.Refused {
			note("node %s has refused the changed configuration: %s", n.Node, problem)
		}
		for line := range strings.Lines(reportText(n.Revision)) {
			note("%s", strings.TrimRight(line, "\n"))
		}
		for _, problem := range n.Config.Warnings {
			note("node %s: %s", n.Node, problem)
		}
		if f := n.Events.Flawed; f > 0 {
			note("node %s: %s carried errors of pipeline steps, which their field errors tells: epmesh tap events --json", n.Node, count(f, "event"))
		}
	}
	for _, p := range m.silent() {
		if p.Live {
			note("node %s does not answer; %s ago it still said that it is there", p.Node, age(now.Sub(p.Seen)))
		} else {
			note("node %s has vanished: its last word came %s ago; what it held goes to other nodes with its plugins", p.Node, age(now.Sub(p.Seen)))
		}
	}
	if v := versions(m); len(v) > 1 {
		note("the nodes run different versions: %s", strings.Join(v, ", "))
	}
	prints := map[string]string{}
	for _, n := range m.Nodes {
		if f := n.Config.Fingerprint; f != "" {
			prints[f] = n.Node
		}
	}
	if len(prints) > 1 {
		note("the nodes have different pipelines: drafts that travel between them start again")
	}
	for _, line := range copiesText(m.Streams) {
		note("%s", line)
	}
	for _, s := range m.Stages {
		if s.Partitions != nil {
			note("%s", s.Partitions.text(s.Consumer))
		}
	}
	for _, p := range m.Placed {
		if text := p.text(now); text != "" {
			note("%s", text)
		}
	}
	for _, s := range m.Stages {
		if text := s.nowhere(now); text != "" {
			note("%s", text)
		}
		for _, w := range s.Waiting {
			note("%s waits, %s", s.Consumer, w)
		}
		if s.Newer > 0 {
			note("%s has left %s of a newer epmesh: upgrade its nodes", s.Consumer, count(s.Newer, "message"))
		}
	}
	for _, name := range m.Orphaned {
		kept := "what it would take is kept for it"
		if s := m.stage(name); s.waiting() > 0 {
			kept = s.waits(now) + " for it"
		}
		note("no node serves %s, and %s; if its plugin will not come back: epmesh prune %s", name, kept, name)
	}
	for _, what := range m.Unasked {
		note("could not be asked: %s", what)
	}
	return b.String()
}

// hubText is how an edge stands with its hub.
func hubText(n node.Status, now time.Time) string {
	waits := int64(0)
	for _, s := range n.Stages {
		waits += max(s.Pending, 0) + s.InFlight
	}
	text := fmt.Sprintf("edge %s: the link to the hub has been ", n.Node)
	switch since := age(now.Sub(n.Hub.Since)); {
	case !n.Hub.Up:
		text += fmt.Sprintf("down for %s (%s); %d wait here", since, n.Hub.Reason, waits)
	case n.Hub.Reason != "":
		text += fmt.Sprintf("up for %s, and the hub stores nothing (%s); %d wait here", since, n.Hub.Reason, waits)
	default:
		text += fmt.Sprintf("up for %s (%s); %d are on their way", since, n.Hub.Server, waits)
	}
	return text
}

// versions are those that nodes of the mesh run, each with its nodes.
func versions(m meshJSON) []string {
	nodes := map[string][]string{}
	for _, n := range m.Nodes {
		nodes[n.Version] = append(nodes[n.Version], n.Node)
	}
	for _, p := range m.silent() {
		if p.Live {
			nodes[p.Version] = append(nodes[p.Version], p.Node)
		}
	}
	var list []string
	for _, v := range slices.Sorted(maps.Keys(nodes)) {
		list = append(list, fmt.Sprintf("%s (%s)", v, strings.Join(nodes[v], ", ")))
	}
	return list
}

// rateText is a rate with as many digits as one reads.
func rateText(r float64) string {
	if r == 0 || r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.1f", r)
}

// age is a duration in the two largest units.
func age(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	switch h := d / time.Hour; {
	case h >= 24:
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%dh%dm", h, d%time.Hour/time.Minute)
	}
	return d.String()
}

// sizeText is a number of bytes with a unit.
func sizeText(n uint64) string {
	for _, u := range []struct {
		size config.Size
		name string
	}{{config.GiB, "GiB"}, {config.MiB, "MiB"}, {config.KiB, "KiB"}} {
		if n >= uint64(u.size) {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
