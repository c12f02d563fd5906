package incidents

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
)

const (
	// maxBody is what a message's text is kept below, in bytes; events, then
	// references and description, then the lists are left out for it.
	maxBody = 128 << 10
	// maxLong bounds the texts that may be longer than maxText.
	maxLong       = 2048
	maxReferences = 10
)

// body is the text of the plugin's messages, as JSON. It is made of the alert and
// of what the state says of it alone, so that it is the same each time.
type body struct {
	// Summary is one line for people.
	Summary string `json:"summary"`
	Kind    kind   `json:"kind"`

	Alert       string            `json:"alert"`
	ParentID    string            `json:"parentId,omitempty"` // of a child
	DuplicateOf string            `json:"duplicateOf,omitempty"`
	Name        string            `json:"name"`
	Severity    string            `json:"severity"`
	Category    string            `json:"category,omitempty"`
	Technique   string            `json:"technique,omitempty"`
	Description string            `json:"description,omitempty"`
	References  []string          `json:"references,omitempty"`
	TenantID    string            `json:"tenantId,omitempty"`
	TenantName  string            `json:"tenantName,omitempty"`
	DataType    string            `json:"dataType,omitempty"`
	DataSource  string            `json:"dataSource,omitempty"`
	Adversary   map[string]string `json:"adversary,omitempty"`
	Target      map[string]string `json:"target,omitempty"`
	GroupedBy   map[string]string `json:"groupedBy,omitempty"`
	Events      int               `json:"events"`
	LastEvents  []evidence        `json:"lastEvents,omitempty"` // newest last

	Incident         string   `json:"incident,omitempty"`
	IncidentName     string   `json:"incidentName,omitempty"` // that of its first alert
	IncidentSeverity string   `json:"incidentSeverity,omitempty"`
	SeverityRose     bool     `json:"severityRose,omitempty"` // by this alert
	Alerts           int      `json:"alerts"`                 // of the incident, this one included
	Duplicates       int      `json:"duplicates"`
	Children         []string `json:"children,omitempty"` // the first of them
	Names            []string `json:"names,omitempty"`    // of its alerts, each once
	Targets          []string `json:"targets,omitempty"`
	FirstSeen        string   `json:"firstSeen,omitempty"`
	LastSeen         string   `json:"lastSeen,omitempty"`
}

// evidence is an event as a message shows it.
type evidence struct {
	ID         string `json:"id"`
	Timestamp  string `json:"@timestamp,omitempty"`
	DataType   string `json:"dataType,omitempty"`
	DataSource string `json:"dataSource,omitempty"`
	Action     string `json:"action,omitempty"`
	Result     string `json:"actionResult,omitempty"`
	Raw        string `json:"raw,omitempty"`
}

// message is that of an alert; its topic is not set.
func (c *correlator) message(f *facts, o outcome) (*plugins.Message, error) {
	a, e := f.alert, o.entry
	b := body{
		Kind: e.Kind, Alert: f.id, DuplicateOf: e.Of,
		Name: f.name, Severity: ranks[f.severity], Category: cut(a.Category, maxText), Technique: cut(a.Technique, maxText),
		Description: cut(a.Description, maxLong),
		TenantID:    cut(a.TenantId, maxText), TenantName: cut(a.TenantName, maxText), DataType: cut(a.DataType, maxText), DataSource: cut(a.DataSource, maxText),
		Adversary: side(a.Adversary), Target: side(a.Target), Events: len(a.Events),
		Alerts: e.Alerts, Duplicates: e.Duplicates,
	}
	if e.Kind == joined {
		b.ParentID = e.Parent
	}
	for _, r := range a.References[:min(len(a.References), maxReferences)] {
		b.References = append(b.References, cut(r, maxText))
	}
	for path, v := range f.groupedBy {
		if b.GroupedBy == nil {
			b.GroupedBy = map[string]string{}
		}
		b.GroupedBy[cut(path, maxText)] = cut(v, maxText)
	}
	for _, ev := range a.Events[max(0, len(a.Events)-c.Events):] {
		b.LastEvents = append(b.LastEvents, evidence{
			ID: cut(ev.GetId(), maxText), Timestamp: cut(ev.GetTimestamp(), maxText),
			DataType: cut(ev.GetDataType(), maxText), DataSource: cut(ev.GetDataSource(), maxText),
			Action: cut(ev.GetAction(), maxText), Result: cut(ev.GetActionResult(), maxText), Raw: cut(ev.GetRaw(), c.EventBytes),
		})
	}
	if e.Parent != "" {
		b.Incident = incidentID(a.TenantId, e.Parent)
		b.IncidentName, b.IncidentSeverity, b.SeverityRose = o.incident.Name, ranks[rank(e.Severity)], e.Rose
		b.Children = head(o.incident.Children, e.Children)
		b.Names, b.Targets = head(o.incident.Names, e.Names), head(o.incident.Targets, e.Targets)
		b.FirstSeen, b.LastSeen = stamp(e.First), stamp(e.Last)
	}
	b.Summary = summary(&b, a)
	text, err := b.encode()
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return &plugins.Message{
		Id:        uuid.NewSHA1(space, []byte("message\x00"+a.TenantId+"\x00"+a.Id)).String(),
		Timestamp: stamp(e.At), Message: text,
	}, nil
}

func (b *body) encode() (string, error) {
	for less := 0; ; less++ {
		text, err := json.Marshal(b)
		if err != nil || len(text) <= maxBody {
			return string(text), err
		}
		switch less {
		case 0:
			b.LastEvents = nil
		case 1:
			b.References, b.Description = nil, ""
		case 2:
			b.Children, b.Names, b.Targets, b.GroupedBy = nil, nil, nil, nil
		default:
			return string(text), nil
		}
	}
}

// incidentID derives from the incident's first alert.
func incidentID(tenant, parent string) string {
	return uuid.NewSHA1(space, []byte("incident\x00"+tenant+"\x00"+parent)).String()
}

// head is the beginning of a list, as far as it goes.
func head(list []string, n int) []string { return list[:max(0, min(n, len(list)))] }

func rank(n int) int { return max(0, min(n, len(ranks)-1)) }

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// summary is such as "HIGH SSH brute force from 203.0.113.7 against web-1 (14
// events): alert 2 of incident Web path scanning".
func summary(b *body, a *pb.Alert) string {
	var s strings.Builder
	s.WriteString(strings.ToUpper(b.Severity) + " " + b.Name)
	if from := named(a.Adversary); from != "" {
		s.WriteString(" from " + cut(from, maxText))
	}
	if to := cmp.Or(named(a.Target), a.DataSource); to != "" {
		s.WriteString(" against " + cut(to, maxText))
	}
	fmt.Fprintf(&s, " (%d %s): ", b.Events, plural("event", b.Events))
	switch b.Kind {
	case opened:
		s.WriteString("new incident")
	case duplicate:
		fmt.Fprintf(&s, "seen before, duplicate %d", b.Duplicates)
		if b.IncidentName != "" {
			s.WriteString(" of incident " + b.IncidentName)
		}
	default:
		fmt.Fprintf(&s, "alert %d of incident %s", b.Alerts, b.IncidentName)
		if b.SeverityRose {
			s.WriteString(", which is now " + strings.ToUpper(b.IncidentSeverity))
		}
	}
	return s.String()
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// named is the shortest name of a side.
func named(s *pb.Side) string {
	return cmp.Or(s.GetIp(), s.GetHost(), s.GetDomain(), s.GetUser(), s.GetUrl())
}

func side(s *pb.Side) map[string]string {
	m := map[string]string{}
	for name, v := range map[string]string{
		"ip": s.GetIp(), "host": s.GetHost(), "user": s.GetUser(), "domain": s.GetDomain(), "url": s.GetUrl(),
		"process": s.GetProcess(), "path": s.GetPath(), "country": s.GetGeolocation().GetCountry(),
	} {
		if v != "" {
			m[name] = cut(v, maxText)
		}
	}
	return m
}
