package incidents

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	pb "github.com/epmesh/epmesh/proto"
)

// body is the text of the plugin's messages, as JSON.
type body struct {
	// Summary is one line for people.
	Summary    string            `json:"summary"`
	Incident   string            `json:"incident"`
	Alert      string            `json:"alert"`
	Parent     string            `json:"parent,omitempty"` // the alert that opened the incident
	Name       string            `json:"name"`
	Severity   string            `json:"severity"`
	Technique  string            `json:"technique,omitempty"`
	Category   string            `json:"category,omitempty"`
	Tenant     string            `json:"tenantId,omitempty"`
	DataType   string            `json:"dataType,omitempty"`
	DataSource string            `json:"dataSource,omitempty"`
	Adversary  map[string]string `json:"adversary,omitempty"`
	Target     map[string]string `json:"target,omitempty"`
	GroupedBy  map[string]string `json:"groupedBy,omitempty"`
	Events     int               `json:"events"`
	LastEvent  string            `json:"lastEvent,omitempty"`
	Alerts     int               `json:"alerts"` // of the incident, this one included
	FirstSeen  string            `json:"firstSeen"`
	LastSeen   string            `json:"lastSeen"`
}

func message(a *pb.Alert, i incident) (string, error) {
	b := body{
		Summary: summary(a, i), Incident: i.id, Alert: a.Id, Name: a.Name, Severity: a.Severity,
		Technique: a.Technique, Category: a.Category, Tenant: a.TenantId, DataType: a.DataType, DataSource: a.DataSource,
		Adversary: side(a.Adversary), Target: side(a.Target),
		Events: len(a.Events), Alerts: i.alerts,
		FirstSeen: i.first.UTC().Format(time.RFC3339), LastSeen: i.last.UTC().Format(time.RFC3339),
	}
	if i.parent != a.Id {
		b.Parent = i.parent
	}
	if n := len(a.Events); n > 0 {
		b.LastEvent = a.Events[n-1].Id
	}
	for _, path := range a.GroupBy {
		if v := valueOf(a, path); v != "" {
			if b.GroupedBy == nil {
				b.GroupedBy = map[string]string{}
			}
			b.GroupedBy[path] = v
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode message: %w", err)
	}
	return string(text), nil
}

// summary is such as "HIGH SSH brute force from 203.0.113.7 against web-1
// (14 events, alert 2 of its incident)".
func summary(a *pb.Alert, i incident) string {
	var b strings.Builder
	if a.Severity != "" {
		b.WriteString(strings.ToUpper(a.Severity) + " ")
	}
	b.WriteString(a.Name)
	if from := named(a.Adversary); from != "" {
		b.WriteString(" from " + from)
	}
	if to := cmp.Or(named(a.Target), a.DataSource); to != "" {
		b.WriteString(" against " + to)
	}
	fmt.Fprintf(&b, " (%d %s, alert %d of its incident)", len(a.Events), plural("event", len(a.Events)), i.alerts)
	return b.String()
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
	for name, v := range map[string]string{"ip": s.GetIp(), "host": s.GetHost(), "user": s.GetUser(), "domain": s.GetDomain(), "url": s.GetUrl()} {
		if v != "" {
			m[name] = v
		}
	}
	return m
}
