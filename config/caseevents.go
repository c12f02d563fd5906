package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// CaseEvent is one of the events that a case has for rules, or several that are
// alike.
type CaseEvent struct {
	Position Position
	// Log makes the event by the pipelines; nil where Event is it.
	Log   *pb.Log
	Event *pb.Event
	// Times is how often it comes, 1 at least. The first comes After the event
	// before it, the others Every so long.
	Times        int
	After, Every time.Duration
}

// WantedAlert is what a case wants of the alerts of one rule.
type WantedAlert struct {
	Position Position
	Rule     string // its name or id
	// Count is how many alerts there are; below 0 it is one at least.
	Count int
	// Fields are wanted values by path, of the rule's last alert.
	Fields map[string]any
	// At is where each field stands, by its path.
	At map[string]Position
}

const (
	maxCaseEvents = 10_000 // of one case, with repetitions
	caseStep      = time.Second
)

// events reads the events of a case, in their order.
func (d *caseDecoder) events(p pair) []CaseEvent {
	var list []CaseEvent
	total := 0
	for _, n := range d.list(p.value, "events", 3) {
		e := d.event(n)
		if total += e.Times; total > maxCaseEvents {
			d.add(RuleBadCase, Error, n.Line, n.Column, "", "events: more than %d with all repetitions", maxCaseEvents)
			return list
		}
		list = append(list, e)
	}
	if len(list) == 0 && !d.failed {
		d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "", "events: the list is empty")
	}
	return list
}

func (d *caseDecoder) event(n *yaml.Node) CaseEvent {
	e := CaseEvent{Position: d.position(n), Times: 1, After: caseStep, Every: caseStep}
	fields := maps.Clone(d.defaults)
	given := map[string]pair{}
	before := len(d.report)
	take := map[string]func(pair){
		"raw": func(p pair) {
			given["raw"] = p
			fields["raw"], _ = d.text(p.value, "raw", 5)
		},
		"event": func(p pair) { given["event"], e.Event = p, d.wholeEvent(p) },
		"times": func(p pair) {
			if !d.visit(p.value, 5) || p.value.ShortTag() != "!!int" || p.value.Decode(&e.Times) != nil || e.Times < 1 || e.Times > maxCaseEvents {
				e.Times = 1
				d.add(RuleBadCase, Error, p.value.Line, p.value.Column, "", "times: want a number from 1 to %d", maxCaseEvents)
			}
		},
		"after": func(p pair) { e.After = d.duration(p, "after") },
		"every": func(p pair) { e.Every = d.duration(p, "every") },
	}
	for key, field := range logKeys {
		take[key] = func(p pair) {
			if s, ok := d.text(p.value, key, 5); ok {
				fields[field] = s
			}
		}
	}
	if !d.keys(n, "events", 4, take) {
		return e
	}
	_, raw := given["raw"]
	_, event := given["event"]
	if raw == event && len(d.report) == before {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write raw: and the text of a log, or event: and the event as it is nested", "events: an item is either a log or an event")
		return e
	}
	if fields["@timestamp"] != "" {
		if _, err := time.Parse(time.RFC3339, fields["@timestamp"]); err != nil {
			d.add(RuleBadCase, Error, n.Line, n.Column, "write it as 2026-01-01T00:00:00Z", "timestamp: %q is no time", fields["@timestamp"])
		}
	}
	if raw {
		e.Log = logOf(fields)
	} else if e.Event != nil {
		for _, f := range []struct {
			into *string
			key  string
		}{
			{&e.Event.Timestamp, "@timestamp"},
			{&e.Event.DataType, "dataType"},
			{&e.Event.DataSource, "dataSource"},
			{&e.Event.TenantId, "tenantId"},
		} {
			if *f.into == "" {
				*f.into = fields[f.key]
			}
		}
	}
	if len(d.report) == before && (raw && fields["dataType"] == "" || event && e.Event.GetDataType() == "") {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write dataType: beside it, or below defaults for all", "the event has no data type, so no rule would look at it")
	}
	return e
}

func logOf(fields map[string]string) *pb.Log {
	return &pb.Log{
		Id: fields["id"], DataType: fields["dataType"], DataSource: fields["dataSource"],
		Timestamp: fields["@timestamp"], TenantId: fields["tenantId"], Raw: fields["raw"],
	}
}

func (d *caseDecoder) duration(p pair, name string) time.Duration {
	text, ok := d.text(p.value, name, 5)
	if !ok {
		return 0
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		d.add(RuleBadCase, Error, p.value.Line, p.value.Column, "write it as 30s, 5m or 2h", "%s: %q is no time", name, text)
	}
	return max(v, 0)
}

// wholeEvent reads an event as it is nested.
func (d *caseDecoder) wholeEvent(p pair) *pb.Event {
	if !d.visit(p.value, 5) {
		return nil
	}
	if p.value.Kind != yaml.MappingNode {
		d.wrong(p.value, "event", "a mapping", "write the event as it is nested")
		return nil
	}
	plain := map[string]any{}
	for _, f := range d.pairs(p.value, 5) {
		v, read := d.plain(f.value, "event."+f.key, 6)
		at, ok := d.pathIn(eventPlace, pair{key: JoinPath(f.key), at: f.at, value: f.value}, "event")
		if !ok || !read {
			return nil
		}
		if v, ok = d.wanted(at, v, f.value, "event."+f.key); !ok {
			return nil
		}
		plain[f.key] = v
	}
	text, err := json.Marshal(plain)
	e := &pb.Event{}
	if err == nil {
		err = protojson.Unmarshal(text, e)
	}
	if err != nil {
		d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "", "event: this is no event")
		return nil
	}
	return e
}

// alerts reads what a case wants of rules.
func (w wantDecoder) alerts(p pair) {
	w.want.At[p.key] = w.position(p.at)
	w.want.Alerts = []WantedAlert{}
	seen := map[string]bool{}
	for i, n := range w.list(p.value, "alerts", 3) {
		a := WantedAlert{Position: w.position(n), Count: -1, At: map[string]Position{}}
		ok := w.keys(n, "alerts", 4, map[string]func(pair){
			"rule": func(p pair) { a.Rule, _ = w.text(p.value, "rule", 5) },
			"count": func(p pair) {
				if !w.visit(p.value, 5) || p.value.ShortTag() != "!!int" || p.value.Decode(&a.Count) != nil || a.Count < 0 {
					w.add(RuleBadCase, Error, p.value.Line, p.value.Column, "", "count: want a number, 0 where the rule must not fire")
				}
			},
			"fields": func(p pair) { a.Fields = w.alertFields(p, a.At) },
		})
		switch {
		case !ok:
		case a.Rule == "":
			w.add(RuleBadCase, Error, n.Line, n.Column, "write rule: and the name of a rule", "alerts: which rule is meant?")
		case seen[a.Rule]:
			w.add(RuleBadCase, Error, n.Line, n.Column, "say it in one item", "alerts: the rule %q stands there twice", a.Rule)
		case a.Count == 0 && a.Fields != nil:
			w.add(RuleBadCase, Error, n.Line, n.Column, "", "alerts: where there is no alert, there are no fields of it")
		}
		seen[a.Rule] = true
		w.want.Alerts = append(w.want.Alerts, a)
		w.want.At["alerts."+strconv.Itoa(i)] = a.Position
	}
}

var alertPlace = place{message: (&pb.Alert{}).ProtoReflect().Descriptor()}

func (w wantDecoder) alertFields(p pair, at map[string]Position) map[string]any {
	if !w.visit(p.value, 5) {
		return nil
	}
	if p.value.Kind != yaml.MappingNode {
		w.wrong(p.value, "fields", "a mapping", "write path: value")
		return nil
	}
	fields := map[string]any{}
	for _, f := range w.pairs(p.value, 5) {
		at[f.key] = w.position(f.at)
		place, ok := w.pathIn(alertPlace, f, "fields")
		v, read := w.plain(f.value, "fields."+f.key, 6)
		if !ok || !read {
			continue
		}
		if v, ok := w.wanted(place, v, f.value, "fields."+f.key); ok {
			fields[f.key] = v
		}
	}
	return fields
}

// plainAlerts are wanted alerts as plain values.
func plainAlerts(list []WantedAlert) []any {
	out := make([]any, len(list))
	for i, a := range list {
		m := map[string]any{"rule": a.Rule}
		if a.Count >= 0 {
			m["count"] = int64(a.Count)
		}
		if a.Fields != nil {
			m["fields"] = a.Fields
		}
		out[i] = m
	}
	return out
}

// Logs are the logs of a case, that of its own or those of its events.
func (c *Case) Logs() []*pb.Log {
	if c.Log != nil {
		return []*pb.Log{c.Log}
	}
	var logs []*pb.Log
	for _, e := range c.Events {
		if e.Log != nil {
			logs = append(logs, e.Log)
		}
	}
	return logs
}

// At gives the i-th event of those that are alike, counted from 0, when the one
// before it came at a time.
func (e *CaseEvent) At(i int, before time.Time) time.Time {
	own := e.Log.GetTimestamp()
	if e.Event != nil {
		own = e.Event.GetTimestamp()
	}
	switch start, err := time.Parse(time.RFC3339, own); {
	case i > 0:
		return before.Add(e.Every)
	case before.IsZero() && err == nil:
		return start
	case err == nil && own != caseTimestamp && start.After(before):
		return start // it says when
	}
	return before.Add(e.After)
}

// EventID is the id of the n-th event of a case, counted from 1.
func EventID(n int) string { return fmt.Sprintf("event-%d", n) }
