package integration

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// mill is the whole way with recording plugins, all run by the node: a json
// step, a parsing plugin behind a dynamic step, an analysis plugin that answers
// an alert an event, a correlation and an output plugin.
const mill = `
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
      - dynamic: {plugin: stamper}
plugins:
  analysis: {order: [judge]}
  correlation: {order: [collector]}
  output: {order: [archive]}
`

// installMill lays the mill's configuration and plugins, and returns the folder
// of their records and their names. Two are served by the kit, and so called by
// their batch lane; with EPMESH_KIT=all all are, with none none.
func installMill(t *testing.T, dir string) (folder string, names []string) {
	t.Helper()
	folder = dir + "/records"
	configure(t, dir, mill)
	for _, p := range []program{
		{Kind: plugin.Parsing, Name: "stamper"},
		{Kind: plugin.Analysis, Name: "judge", Kit: true},
		{Kind: plugin.Correlation, Name: "collector"},
		{Kind: plugin.Output, Name: "archive", Kit: true},
	} {
		p.Records = folder
		if v := os.Getenv("EPMESH_KIT"); v != "" {
			p.Kit = v == "all"
		}
		p.install(t, dir)
		names = append(names, p.Name)
	}
	return folder, names
}

// ledger is what a run came to.
type ledger struct {
	sent, acked, events, dead, alerts int
	// duplicates are events that a plugin was given again, which at least once
	// allows.
	duplicates int
	stall      time.Duration
}

func (l ledger) String() string {
	return fmt.Sprintf("sent %d, acked %d, events %d, dead %d, duplicates %d, alerts %d, longest stall %s",
		l.sent, l.acked, l.events, l.dead, l.duplicates, l.alerts, l.stall.Round(time.Millisecond))
}

// balance checks that nothing that was acked is lost, and no alert is doubled.
// The sender has stopped and all is at rest. edges have dead letters of their own.
func balance(t *testing.T, s *sender, folder string, o *observer, edges ...*observer) ledger {
	t.Helper()
	l := ledger{sent: s.made, acked: len(s.acked), stall: s.stall}

	events := map[string]bool{}
	for _, e := range records(t, folder, "archive.events", 2) {
		if events[e[0]] {
			l.duplicates++
		}
		if e[1] != "processed_by_plugin" {
			t.Errorf("event %s passed the parsing plugin by", e[0])
		}
		events[e[0]] = true
	}
	l.events = len(events)
	dead := o.dead()
	for _, e := range edges {
		for stage, ids := range e.dead() {
			dead[stage] = append(dead[stage], ids...)
		}
	}
	settled := map[string]bool{}
	for _, stage := range []string{"input", "parse", "draft"} {
		for _, id := range dead[stage] {
			settled[id] = true
		}
	}
	l.dead = len(settled)
	var lost []string
	for _, id := range s.acked {
		if !events[id] && !settled[id] && !slices.Contains(dead["event-output"], id) {
			lost = append(lost, id)
		}
	}
	if len(lost) > 0 {
		t.Errorf("%d acked logs are neither in the events nor in the dead letters: %.10q", len(lost), lost)
	}
	l.alerts = checkAlerts(t, folder, events, dead, o.alerts())
	for stage, ids := range dead {
		if stage != "input" {
			t.Logf("%d dead letters of stage %s: %.5q", len(ids), stage, ids)
		}
	}
	return l
}

// checkAlerts checks that each event has one alert: the judge makes a new id
// each time it is asked, so two ids for an event are two stored alerts. stored
// is how many the stream took; two of one id would show there.
func checkAlerts(t *testing.T, folder string, events map[string]bool, dead map[string][]string, stored int) int {
	t.Helper()
	byEvent := map[string]map[string]bool{}
	ids := map[string]bool{}
	for _, name := range []string{"archive.alerts", "collector.alerts"} {
		for _, a := range records(t, folder, name, 3) {
			if byEvent[a[1]] == nil {
				byEvent[a[1]] = map[string]bool{}
			}
			byEvent[a[1]][a[0]] = true
			ids[a[0]] = true
		}
	}
	var doubled, missing []string
	for event, alerts := range byEvent {
		if len(alerts) > 1 {
			doubled = append(doubled, event)
		}
	}
	for event := range events {
		if byEvent[event] == nil && !slices.Contains(dead["analysis"], event) {
			missing = append(missing, event)
		}
	}
	if len(doubled) > 0 {
		t.Errorf("%d events have more than one alert: %.10q", len(doubled), doubled)
	}
	if len(missing) > 0 {
		t.Errorf("%d events have no alert: %.10q", len(missing), missing)
	}
	if stored != len(ids) {
		t.Errorf("the stream took %d alerts, of which the plugins have seen %d", stored, len(ids))
	}
	return stored
}
