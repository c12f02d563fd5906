package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
)

// partitionsJSON is who has the partitions of a plugin with an affinity.
type partitionsJSON struct {
	Key     string           `json:"key"`
	Of      int64            `json:"of"`   // how many there are; 0: not known
	Held    map[string]int64 `json:"held"` // by the node that serves them
	Routing []string         `json:"routing"`
}

func (s *stageJSON) addPartitions(name string, a *node.AffinityStatus) {
	if s.Partitions == nil {
		s.Partitions = &partitionsJSON{Key: a.Key, Held: map[string]int64{}, Routing: []string{}}
	}
	p := s.Partitions
	p.Of, p.Held[name] = max(p.Of, a.Of), a.Partitions
	if a.Routing {
		p.Routing = append(p.Routing, name)
	}
}

// fold counts what waits in partitions to the plugin that it waits for, where a
// node has that with an affinity. Others stay consumers of their own.
func (m *meshJSON) fold() {
	m.foldPlaced()
	m.Keyed = m.lift(isKeyed, func(s stageJSON) bool { return s.Partitions != nil })
}

func isKeyed(consumer string) bool { return strings.HasPrefix(consumer, bridge.KeyedPrefix) }

// lift takes consumers of items that were handed on out of the stages, where the
// one that they wait for is among these and has what is wanted, and counts there
// what they have.
func (m *meshJSON) lift(is func(consumer string) bool, wanted func(base stageJSON) bool) (lifted []stageJSON) {
	all := m.Stages
	m.Stages = slices.DeleteFunc(slices.Clone(all), func(s stageJSON) bool {
		base := bridge.WaitsFor(s.Consumer)
		goes := is(s.Consumer) && slices.ContainsFunc(all, func(s stageJSON) bool { return s.Consumer == base && wanted(s) })
		if goes {
			lifted = append(lifted, s)
		}
		return goes
	})
	for _, l := range lifted {
		s := m.stage(bridge.WaitsFor(l.Consumer))
		s.Pending = max(s.Pending, 0) + max(l.Pending, 0)
		s.Unacked += l.Unacked
		s.Redelivered += l.Redelivered
	}
	return lifted
}

// date says since when work waits, as a node has looked it up.
func (m *meshJSON) date() {
	for i := range m.Stages {
		s := &m.Stages[i]
		m.dateOf(s, func(consumer string) bool {
			return consumer == s.Consumer || bridge.WaitsFor(consumer) == s.Consumer && (s.Partitions != nil || isPlaced(consumer) && len(s.Nodes) > 0)
		})
	}
	for i := range m.Placed {
		p := &m.Placed[i]
		m.dateOf(&p.stageJSON, func(consumer string) bool { return consumer == p.Consumer })
	}
}

// dateOf says it of one, which has the items of some consumers.
func (m *meshJSON) dateOf(s *stageJSON, has func(consumer string) bool) {
	for _, n := range m.Nodes {
		var items float64
		var oldest time.Time
		for _, b := range n.Behind {
			if !has(b.Consumer) {
				continue
			}
			items += b.Items
			if oldest.IsZero() || !b.Oldest.IsZero() && b.Oldest.Before(oldest) {
				oldest = b.Oldest
			}
		}
		// All nodes tell of the same stream, at slightly different times.
		s.Items = max(s.Items, items)
		if s.Oldest.IsZero() || !oldest.IsZero() && oldest.Before(s.Oldest) {
			s.Oldest = oldest
		}
	}
}

// oldest is how long the oldest has waited; "" where that is not known.
func (s stageJSON) oldest(now time.Time) string {
	if s.Oldest.IsZero() {
		return ""
	}
	return age(now.Sub(s.Oldest))
}

// since is the time of the oldest for people; "" where it is not known.
func (s stageJSON) since(now time.Time) string {
	if s.Oldest.IsZero() {
		return ""
	}
	form := time.TimeOnly
	if now.Sub(s.Oldest) > 12*time.Hour {
		form = time.DateTime
	}
	return s.Oldest.In(now.Location()).Format(form)
}

// waits is how much waits since when: "about 120 items wait since 12:03:10".
func (s stageJSON) waits(now time.Time) string {
	text := count(s.waiting(), "stored message")
	verb := "wait"
	if s.Items > 0 {
		text = "about " + count(int64(s.Items), "item")
	}
	if s.waiting() == 1 && s.Items <= 1 {
		text, verb = "1 item", "waits"
	}
	if at := s.since(now); at != "" {
		return fmt.Sprintf("%s %s since %s", text, verb, at)
	}
	return text + " " + verb
}

// nowhere says that work waits for a plugin that no node can call now, though it
// is in their configuration; "" where that is not so.
func (s stageJSON) nowhere(now time.Time) string {
	if len(s.Nodes) == 0 || len(s.Serving) > 0 || s.waiting() == 0 || s.Plugin == "" {
		return ""
	}
	return fmt.Sprintf("no node has the plugin %s now, and %s for it (%s)", s.Plugin, s.waits(now), s.Consumer)
}

// text is one line: how many partitions, and who has how many.
func (p *partitionsJSON) text(consumer string) string {
	var parts []string
	var held int64
	for _, name := range slices.Sorted(maps.Keys(p.Held)) {
		held += p.Held[name]
		parts = append(parts, fmt.Sprintf("%s has %d", name, p.Held[name]))
	}
	of := "its partitions"
	if p.Of > 0 {
		of = count(p.Of, "partition")
		if left := p.Of - held; left > 0 {
			parts = append(parts, fmt.Sprintf("%d are with nobody now", left))
		}
	}
	line := fmt.Sprintf("%s, by %s, %s: %s", consumer, p.Key, of, strings.Join(parts, ", "))
	if len(p.Routing) > 0 {
		return line + "; " + strings.Join(p.Routing, ", ") + " routes"
	}
	return line + "; nobody routes now"
}
