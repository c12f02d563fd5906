package bridge_test

import (
	"fmt"
	"testing"

	"github.com/epmesh/epmesh/bridge"
)

// Only what must move does, and the shares are near each other.
func TestAssign(t *testing.T) {
	c := bridge.AnalysisConsumer("count")
	const parts = 1024
	var nodes []string
	before := c.Assign(nodes, parts)
	for n := range 8 {
		name := fmt.Sprint("node-", n)
		nodes = append(nodes, name)
		after := c.Assign(nodes, parts)
		share := map[string]int{}
		for p := range parts {
			if after[p] != before[p] && after[p] != name {
				t.Fatalf("part %d moved from %s to %s when %s came", p, before[p], after[p], name)
			}
			share[after[p]]++
		}
		for node, s := range share {
			if fair := parts / len(nodes); s < fair*6/10 || s > fair*14/10 {
				t.Errorf("of %d nodes %s has %d of %d parts", len(nodes), node, s, parts)
			}
		}
		before = after
	}
	gone := c.Assign(nodes[1:], parts)
	for p := range parts {
		if gone[p] != before[p] && before[p] != nodes[0] {
			t.Fatalf("part %d of %s moved when %s went", p, before[p], nodes[0])
		}
	}
}
