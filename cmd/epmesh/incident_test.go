package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/epmesh/epmesh/proto"
)

// An incident is shown once it is quiet, with the evidence of its alerts, and
// again only when something was added.
func TestCasebook(t *testing.T) {
	var b casebook
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.Local)
	tell := func(id, name, severity string, after time.Duration) {
		b.alert(&pb.Alert{
			Id: id, Name: name, Severity: severity, Adversary: &pb.Side{Ip: "203.0.113.7"}, Target: &pb.Side{Host: "web-1"},
			Events: []*pb.Event{{Raw: "before"}, {Raw: "line of " + id + "\x1b[2J"}},
		}, at.Add(after))
		b.message(&pb.Message{Topic: "incidents.new", Message: fmt.Sprintf(`{"incident":"i","alert":%q,"name":%q,"groupedBy":{"adversary.ip":"203.0.113.7"}}`, id, name)}, at.Add(after))
	}
	tell("a", "Sweep", "low", 0)
	if got := b.due(at.Add(time.Minute)); len(got) != 0 {
		t.Errorf("an incident of one alert is shown: %v", got)
	}
	tell("b", "Login", "high", 2*time.Second)
	b.message(&pb.Message{Message: "no JSON"}, at)
	b.message(&pb.Message{Message: `{"kind":"duplicate","incident":"i","alert":"a2"}`}, at.Add(3*time.Second))
	b.message(&pb.Message{Message: `{"incident":"i","alert":"b"}`}, at.Add(3*time.Second)) // again
	if got := b.due(at.Add(6 * time.Second)); len(got) != 0 {
		t.Errorf("shown before it is quiet: %v", got)
	}
	got := b.due(at.Add(7 * time.Second))
	if len(got) != 1 {
		t.Fatalf("due: %v", got)
	}
	want := `
INCIDENT  HIGH  203.0.113.7: 2 alerts in 2s, from 4 events
  12:00:00  LOW     Sweep  203.0.113.7 -> web-1
            line of a [2J
  12:00:02  HIGH    Login  203.0.113.7 -> web-1
            line of b [2J
`
	if text := got[0].text(80); text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	if got := b.due(at.Add(time.Minute)); len(got) != 0 {
		t.Errorf("shown twice: %v", got)
	}
	b.message(&pb.Message{Message: `{"incident":"i","alert":"not seen","name":"Later"}`}, at.Add(time.Minute))
	if got := b.due(at.Add(2 * time.Minute)); len(got) != 1 || !strings.Contains(got[0].text(80), "Later") {
		t.Errorf("not shown with what was added: %v", got)
	}
}

// What is kept is bounded, whatever comes.
func TestCasebookBounds(t *testing.T) {
	var b casebook
	for i := range 3 * maxCaseAlerts {
		id := fmt.Sprint(i)
		b.alert(&pb.Alert{Id: id}, time.Now())
		b.message(&pb.Message{Message: fmt.Sprintf(`{"incident":%q,"alert":%q}`, id, id)}, time.Now())
	}
	if len(b.alerts) != maxCaseAlerts || len(b.order) != maxCaseAlerts || len(b.cases) != maxCases {
		t.Errorf("%d alerts, %d in order, %d cases", len(b.alerts), len(b.order), len(b.cases))
	}
}
