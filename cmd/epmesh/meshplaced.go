package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

// placedJSON is what waits for nodes of certain groups.
type placedJSON struct {
	// Groups a node needs: one of each list.
	Groups [][]string `json:"groups"`
	stageJSON
}

// foldPlaced counts what was handed on to the plugin that it waits for, where a
// node has that in its configuration. Others stay consumers of their own.
func (m *meshJSON) foldPlaced() {
	placed := m.lift(isPlaced, func(s stageJSON) bool { return len(s.Nodes) > 0 })
	for _, s := range placed {
		_, demand, _ := bridge.PlacedOf(s.Consumer)
		p := placedJSON{stageJSON: s}
		p.Nodes = m.stage(bridge.WaitsFor(s.Consumer)).Nodes
		for _, groups := range strings.Split(demand, "&") {
			p.Groups = append(p.Groups, strings.Split(groups, ","))
		}
		m.Placed = append(m.Placed, p)
	}
}

func isPlaced(consumer string) bool {
	_, _, ok := bridge.PlacedOf(consumer)
	return ok
}

// text says what waits for which nodes; "" where nothing does.
func (p placedJSON) text(now time.Time) string {
	if p.waiting() == 0 {
		return ""
	}
	var groups []string
	for _, g := range p.Groups {
		groups = append(groups, strings.Join(g, " or "))
	}
	return fmt.Sprintf("%s for %s on a node that NODE_GROUPS puts in %s (%s)", p.waits(now), bridge.WaitsFor(p.Consumer), strings.Join(groups, ", and in "), p.Consumer)
}
