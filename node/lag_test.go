package node_test

import (
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

// What a node says of a plugin's work is what capacity is reckoned by: the time
// an item takes, at the least the plugin's own, and how many at once.
func TestBusyTimeIsThePluginsLatency(t *testing.T) {
	const logs, delay = 200, 20 * time.Millisecond
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "pipeline:\n- dataTypes: [app]\n  steps: [{json: {source: raw}}]\nplugins: {analysis: {order: [slow]}}\n")
	n := start(t, dir, func(s *config.Settings) { s.Plugins.InFlight = 8 })
	b := n.bridge()
	n.send(someLogs("app", 0, logs)...)
	stage := func(s node.Status) node.StageStatus {
		for _, st := range s.Stages {
			if st.Plugin == "slow" {
				return st
			}
		}
		return node.StageStatus{}
	}
	// While nobody does it, it waits, and grows old.
	waiting := stage(n.until(b, "all wait", func(s node.Status) bool { return stage(s).LagItems >= logs/2 && stage(s).LagSeconds > 0 }))
	if waiting.Busy != 0 {
		t.Errorf("nobody has worked, and it says %+v", waiting)
	}
	plugintest.Start(t, n.sockets(), plugin.Analysis, "slow", plugintest.Script{Delay: delay})
	done := stage(n.until(b, "all are done", func(s node.Status) bool { return stage(s).Out == logs && stage(s).LagSeconds == 0 }))
	if each := done.Busy / logs; each < delay.Seconds() || done.Limit < 1 || done.Limit > 8 || done.LagItems != 0 {
		t.Errorf("%.4f s an item, at most %d at once: %+v", each, done.Limit, done)
	}
}
