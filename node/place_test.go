package node_test

import (
	"slices"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

// What a rule keeps from a node waits, though the plugin is there; once the rule
// is gone it is worked off.
func TestPlacementKeepsWorkAway(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", wholeWay)
	write(t, dir, "b.yaml", `
mesh:
  place:
    - {plugin: enricher, groups: [gpu]}
    - {stage: analysis, plugin: second, groups: [big, huge]}
    - {stage: correlation, groups: [here, there]}
`)
	n := start(t, dir, func(s *config.Settings) { s.Groups = []string{"here"} })
	enricher := plugintest.Start(t, n.sockets(), plugin.Parsing, "enricher", plugintest.Script{Set: map[string]string{"log.seen": "yes"}})
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{Alerts: 1})
	second := plugintest.Start(t, n.sockets(), plugin.Analysis, "second", plugintest.Script{})
	group := plugintest.Start(t, n.sockets(), plugin.Correlation, "group", plugintest.Script{})
	b := n.bridge()
	n.send(someLogs("app", 0, 10)...)      // which need the enricher
	n.send(someLogs("other", 100, 110)...) // which do not
	wait(t, rules, "what needs no enricher", count(10))
	wait(t, group, "an alert each", count(10))
	s := n.until(b, "at rest", func(s node.Status) bool {
		return !slices.ContainsFunc(s.Stages, func(st node.StageStatus) bool {
			return st.Waiting == "" && (st.InFlight > 0 || st.Pending > 0)
		})
	})
	for _, st := range s.Stages {
		if st.Plugin == "enricher" || st.Plugin == "second" {
			t.Errorf("the node serves %s", st.Consumer)
		}
	}
	_, pending, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"draft-enricher", "analysis-second"} {
		i := slices.IndexFunc(pending, func(p bridge.Pending) bool { return p.Name == name })
		if i < 0 || pending[i].Messages == 0 {
			t.Errorf("nothing waits in %s: %+v", name, pending)
		}
	}
	if enricher.Calls()+second.Calls() != 0 {
		t.Errorf("%d calls of the enricher and %d of second, which belong elsewhere", enricher.Calls(), second.Calls())
	}
	write(t, dir, "b.yaml", "mesh: {place: [{stage: parse, groups: [here]}]}\n")
	for _, m := range wait(t, rules, "what waited", count(20))[10:] {
		if e := m.(*pb.Event); e.GetLog()["seen"].GetStringValue() != "yes" {
			t.Errorf("event %v", e)
		}
	}
	wait(t, second, "everything", count(20))
}
