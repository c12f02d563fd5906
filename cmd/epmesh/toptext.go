package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/epmesh/epmesh/bridge"
)

// topSorts are what consumers can be sorted by.
var topSorts = []string{"waiting", "oldest", "rate", "latency", "name"}

// topText is one frame of top: a line for all, the nodes, the consumers, and what
// wants attention. It keeps to the width, and unless rows is 0 to that many lines.
func topText(m meshJSON, list []advice, now time.Time, width, rows int, by string) string {
	notes := topNotes(m, now, width)
	nodes := narrow(topNodes(m, now), width, 0, "VERSION", "HELD", "MEMORY", "CPU", "UP", "ITEMS/S")
	stages := narrow(topStages(m, list, now, by), width, adviceLeast, "BUSY", "IN/S", "EACH", "ADVICE", "DONE/S", "OLDEST", "LIVE")
	if rows > 0 {
		// The head line, and a blank line before each table and the notes.
		notes = notes[:min(len(notes), max(rows/5, 1))]
		room := rows - 4 - len(notes)
		nodes = atMost(nodes, max(room/2, room-len(stages)))
		stages = atMost(stages, max(room-len(nodes), 2))
	}
	parts := []string{fit(topHead(m, list, now), width) + "\n"}
	for _, text := range []string{table(width, nodes), table(width, stages), strings.Join(notes, "")} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	frame := strings.Join(parts, "\n")
	if rows > 0 {
		lines := strings.SplitAfter(strings.TrimSuffix(frame, "\n"), "\n")
		frame = strings.TrimSuffix(strings.Join(lines[:min(len(lines), rows)], ""), "\n") + "\n"
	}
	return frame
}

// topHead is the mesh in one line.
func topHead(m meshJSON, list []advice, now time.Time) string {
	ready, logs, done, items := 0, 0.0, 0.0, 0.0
	there := len(m.Nodes) // and those that say so and do not answer
	for _, p := range m.silent() {
		if p.Live {
			there++
		}
	}
	for _, n := range m.Nodes {
		if n.Ready {
			ready++
		}
		logs += logRate(n)
	}
	for _, a := range list {
		done += a.Done
	}
	var oldest time.Time
	for _, s := range m.Stages {
		items += max(s.Items, float64(s.waiting()))
		if !s.Oldest.IsZero() && (oldest.IsZero() || s.Oldest.Before(oldest)) {
			oldest = s.Oldest
		}
	}
	text := fmt.Sprintf("epmesh %s  %d of %s ready, %s logs/s in, %s items/s done", now.Format(time.TimeOnly),
		ready, count(there, "node"), rateText(logs), rateText(done))
	if items == 0 {
		return text + ", nothing waits"
	}
	text += fmt.Sprintf(", about %s not done", count(int64(items), "item"))
	if oldest.IsZero() {
		return text
	}
	return text + ", the oldest for " + age(now.Sub(oldest))
}

func topNodes(m meshJSON, now time.Time) [][]string {
	rows := [][]string{{"NODE", "STATE", "VERSION", "UP", "LOGS/S", "ITEMS/S", "HELD", "CPU", "MEMORY"}}
	load := map[string]bridge.Load{}
	for _, p := range m.Presence {
		load[p.Node] = p.Load
	}
	usage := func(name string) (cpu, memory string) {
		l, ok := load[name]
		if !ok || l.Memory == 0 {
			return "", ""
		}
		return fmt.Sprintf("%.0f%%", 100*l.CPU), sizeText(l.Memory)
	}
	for _, n := range m.Nodes {
		state, items, held := readyText(n), 0.0, int64(0)
		for _, s := range n.Stages {
			items, held = items+s.Rate, held+s.InFlight
		}
		cpu, memory := usage(n.Node)
		rows = append(rows, []string{n.Node, state, n.Version, age(now.Sub(n.Since)), rateText(logRate(n)), rateText(items), fmt.Sprint(held), cpu, memory})
	}
	for _, p := range m.silent() {
		rows = append(rows, []string{p.Node, silentText(p), p.Version, "", "", "", "", "", ""})
	}
	return rows
}

func topStages(m meshJSON, list []advice, now time.Time, by string) [][]string {
	rows := [][]string{{"STAGE", "PLUGIN", "LIVE", "WAITING", "OLDEST", "IN/S", "DONE/S", "EACH", "BUSY", "ADVICE"}}
	known := map[string]advice{}
	for _, a := range list {
		known[at(a.Stage, a.Plugin)] = a
	}
	stages := slices.Clone(m.Stages)
	slices.SortStableFunc(stages, func(x, y stageJSON) int {
		a, b := known[at(x.Stage, x.Plugin)], known[at(y.Stage, y.Plugin)]
		switch by {
		case "waiting":
			return cmp.Or(cmp.Compare(y.Items, x.Items), cmp.Compare(y.waiting(), x.waiting()))
		case "oldest":
			return cmp.Compare(waited(y, now), waited(x, now))
		case "rate":
			return cmp.Compare(b.Done, a.Done)
		case "latency":
			return cmp.Compare(b.Latency, a.Latency)
		}
		return 0 // they come along the way of the data, by name
	})
	for _, s := range stages {
		a, measured := known[at(s.Stage, s.Plugin)]
		row := []string{s.Stage, s.Plugin, fmt.Sprintf("%d/%d", len(s.Serving), len(s.Nodes)), waitingText(s), s.oldest(now), "", "", "", "", topAdvice(s, a)}
		if len(s.Nodes) == 0 {
			row[2] = "nobody"
		}
		if measured {
			row[5], row[6] = rateText(a.Arrival), rateText(a.Done)
			if a.Latency > 0 {
				row[7], row[8] = latencyText(a.Latency), fmt.Sprintf("%.0f%%", 100*a.Busy)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// waited is for how long the oldest has; 0 where that is not known.
func waited(s stageJSON, now time.Time) time.Duration {
	if s.Oldest.IsZero() {
		return 0
	}
	return now.Sub(s.Oldest)
}

// waitingText is how many items wait, or where only messages are known how many
// of them.
func waitingText(s stageJSON) string {
	switch {
	case s.Items > 0:
		return fmt.Sprintf("%.0f", s.Items)
	case s.Pending < 0:
		return "?"
	}
	return fmt.Sprint(s.waiting())
}

func latencyText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// adviceLeast is what of the advice has to have room, else it is left out.
const adviceLeast = 12

// topAdvice says what the present rate asks for, in few words.
func topAdvice(s stageJSON, a advice) string {
	switch {
	case len(s.Nodes) == 0:
		return "in no node's configuration"
	case len(s.Serving) == 0 && s.waiting() > 0:
		return "start one: no node has it"
	case a.Needed > a.Instances:
		return fmt.Sprintf("%d more", a.Needed-a.Instances)
	case a.Needed > 0 && a.Needed < a.Instances:
		return fmt.Sprintf("%d would do", a.Needed)
	case a.Needed > 0:
		return "enough"
	}
	return ""
}

// topNotes are what no table shows, a line each.
func topNotes(m meshJSON, now time.Time, width int) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fit(fmt.Sprintf(format, args...), width)+"\n") }
	for _, what := range m.Unasked {
		add("could not be asked: %s", what)
	}
	for _, line := range copiesText(m.Streams) {
		add("%s", line)
	}
	for _, s := range m.Stages {
		if text := s.nowhere(now); text != "" {
			add("%s", text)
		}
	}
	for _, n := range m.Nodes {
		for _, reason := range n.NotReady {
			add("node %s is not ready: %s", n.Node, reason)
		}
	}
	return lines
}

// narrow leaves columns out, in this order, until rows fit the width. Of the last
// column least has to fit; 0: all of it.
func narrow(rows [][]string, width, least int, order ...string) [][]string {
	wide := func() (n int) {
		for i := range rows[0] {
			most := 0
			for _, row := range rows {
				most = max(most, utf8.RuneCountInString(row[i]))
			}
			if i == len(rows[0])-1 && least > 0 && rows[0][i] == "ADVICE" {
				most = min(most, least)
			}
			n += most + 2
		}
		return n - 2
	}
	for _, head := range order {
		if wide() <= width {
			break
		}
		if i := slices.Index(rows[0], head); i >= 0 {
			for r := range rows {
				rows[r] = slices.Delete(rows[r], i, i+1)
			}
		}
	}
	return rows
}

// atMost cuts rows, whose first is a head, to n lines, the last of which says how
// many are left out.
func atMost(rows [][]string, n int) [][]string {
	n = max(n, 2)
	if len(rows) <= n {
		return rows
	}
	left := make([]string, len(rows[0]))
	for i := range left {
		left[i] = " "
	}
	left[0] = fmt.Sprintf("%d more", len(rows)-n+1)
	return append(slices.Clone(rows[:n-1]), left)
}
