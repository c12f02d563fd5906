package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/epmesh/epmesh/proto"
)

const (
	// incidentQuiet is how long nothing was added to an incident before it is
	// shown as a whole.
	incidentQuiet = 5 * time.Second
	// What is kept to tell an incident's evidence from, at most.
	maxCaseAlerts = 1000
	maxCases      = 100
)

// caseFile is an incident as its messages tell it: what the incidents plugin has
// put together, with the evidence that the alerts themselves carry.
type caseFile struct {
	ID       string      `json:"id"`
	Severity string      `json:"severity,omitempty"`
	By       string      `json:"by,omitempty"` // whom it is told of
	Alerts   []caseAlert `json:"alerts"`

	changed time.Time
	shown   int // alerts when it was last shown
}

// caseAlert is one alert of an incident and the last event that made it.
type caseAlert struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Severity string    `json:"severity,omitempty"`
	Name     string    `json:"name"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to,omitempty"`
	Events   int       `json:"events"`
	Evidence string    `json:"evidence,omitempty"` // the raw log
}

// casebook puts incidents together from alerts and messages as they pass. It is
// used by one goroutine at a time.
type casebook struct {
	alerts map[string]caseAlert
	order  []string // of alerts, oldest first
	cases  []*caseFile
}

// alert remembers an alert for the message that may name it.
func (b *casebook) alert(a *pb.Alert, now time.Time) {
	if b.alerts == nil {
		b.alerts = map[string]caseAlert{}
	}
	if _, ok := b.alerts[a.GetId()]; ok {
		return
	}
	c := caseAlert{
		ID: a.GetId(), Time: now, Severity: a.GetSeverity(), Name: a.GetName(),
		From: sideName(a.GetAdversary()), To: cmp.Or(sideName(a.GetTarget()), a.GetDataSource()), Events: len(a.GetEvents()),
	}
	if n := len(a.GetEvents()); n > 0 {
		c.Evidence = strings.ToValidUTF8(a.GetEvents()[n-1].GetRaw(), "\uFFFD")
	}
	b.alerts[c.ID] = c
	if b.order = append(b.order, c.ID); len(b.order) > maxCaseAlerts {
		delete(b.alerts, b.order[0])
		b.order = b.order[1:]
	}
}

// message takes a message of the incidents plugin; others say nothing here.
func (b *casebook) message(m *pb.Message, now time.Time) {
	var body struct {
		Kind      string            `json:"kind"`
		Incident  string            `json:"incident"`
		Alert     string            `json:"alert"`
		Name      string            `json:"name"`
		Severity  string            `json:"severity"`
		GroupedBy map[string]string `json:"groupedBy"`
	}
	if json.Unmarshal([]byte(m.GetMessage()), &body) != nil || body.Incident == "" || body.Alert == "" || body.Kind == "duplicate" {
		return
	}
	i := slices.IndexFunc(b.cases, func(c *caseFile) bool { return c.ID == body.Incident })
	if i < 0 {
		i = len(b.cases)
		b.cases = append(b.cases, &caseFile{ID: body.Incident})
	}
	c := b.cases[i]
	if slices.ContainsFunc(c.Alerts, func(a caseAlert) bool { return a.ID == body.Alert }) {
		return
	}
	a, ok := b.alerts[body.Alert]
	if !ok {
		a = caseAlert{ID: body.Alert, Time: now, Severity: body.Severity, Name: body.Name}
	}
	c.Alerts = append(c.Alerts, a)
	c.changed = now
	if severityRank(a.Severity) > severityRank(c.Severity) {
		c.Severity = a.Severity
	}
	for _, v := range body.GroupedBy {
		c.By = v
	}
	c.By = cmp.Or(c.By, a.From)
	if len(b.cases) > maxCases {
		b.cases = b.cases[1:]
	}
}

func severityRank(severity string) int {
	return slices.Index([]string{"low", "medium", "high", "critical"}, severity)
}

// due are the incidents of several alerts that have been quiet for long enough,
// each once until something is added.
func (b *casebook) due(now time.Time) (list []*caseFile) {
	for _, c := range b.cases {
		if len(c.Alerts) > 1 && len(c.Alerts) > c.shown && now.Sub(c.changed) >= incidentQuiet {
			c.shown = len(c.Alerts)
			slices.SortStableFunc(c.Alerts, func(a, b caseAlert) int { return a.Time.Compare(b.Time) })
			list = append(list, c)
		}
	}
	return list
}

// text is an incident for people: a line for each alert, and below it what was
// seen.
func (c *caseFile) text(width int) string {
	events, first, last := 0, c.Alerts[0].Time, c.Alerts[len(c.Alerts)-1].Time
	for _, a := range c.Alerts {
		events += a.Events
	}
	lines := []string{"", fit(fmt.Sprintf("INCIDENT  %s  %s: %s in %s, from %s", strings.ToUpper(cmp.Or(c.Severity, "-")), c.By,
		count(len(c.Alerts), "alert"), last.Sub(first).Round(time.Second), count(events, "event")), width)}
	for _, a := range c.Alerts {
		line := fmt.Sprintf("  %s  %-7s %s", a.Time.Local().Format(time.TimeOnly), strings.ToUpper(cmp.Or(a.Severity, "-")), a.Name)
		if a.From != "" || a.To != "" {
			line += "  " + arrow(a.From, a.To)
		}
		lines = append(lines, fit(line, width))
		if a.Evidence != "" {
			lines = append(lines, fit("            "+a.Evidence, width))
		}
	}
	return strings.Join(append(lines, ""), "\n")
}
