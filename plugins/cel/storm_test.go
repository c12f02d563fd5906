package cel

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func list(t testing.TB, n int) map[string]*structpb.Value {
	t.Helper()
	items := make([]any, n)
	for i := range items {
		items[i] = 1.0
	}
	s, err := structpb.NewStruct(map[string]any{"list": items})
	if err != nil {
		t.Fatal(err)
	}
	return s.Fields
}

const twoRules = `
- {name: all, dataTypes: [sshd], where: 'exists("origin.ip")', impact: {integrity: 3}}
- {name: failed, dataTypes: [sshd], where: 'equals("actionResult", "failed")', impact: {integrity: 1}}
`

// at is what an event is answered at a time.
func (a *analyzer) at(t testing.TB, e *pb.Event, now time.Time) (names []string, summaries []*pb.Alert) {
	t.Helper()
	hits, _ := judged(t, &a.core, e, now)
	hits, summaries = a.guard.pass(e, hits, now)
	for _, h := range hits {
		names = append(names, h.rule.proto.Name)
	}
	return names, summaries
}

func TestStormOfOneRule(t *testing.T) {
	a := compile(t, twoRules)
	a.guard.settings = stormSettings{Window: plugins.Duration(time.Minute), Rule: 10, Tenant: 100, Everywhere: 1000}
	start := time.Now().Truncate(time.Minute)
	passed := map[string]int{}
	for n := range 1000 {
		names, summaries := a.at(t, event(fmt.Sprint(n), fmt.Sprint("203.0.113.", n%7), "x"), start.Add(time.Duration(n)*time.Millisecond))
		if len(summaries) > 0 {
			t.Fatalf("event %d: a summary before the window's end", n)
		}
		for _, name := range names {
			passed[name]++
		}
	}
	// Another rule, and another tenant, have bounds of their own.
	if names, _ := a.at(t, event("f", "203.0.113.1", "failed"), start); fmt.Sprint(names) != "[failed]" {
		t.Errorf("another rule: %v", names)
	}
	other := event("o", "203.0.113.1", "x")
	other.TenantId = "other"
	if names, _ := a.at(t, other, start); fmt.Sprint(names) != "[all]" {
		t.Errorf("another tenant: %v", names)
	}
	if passed["all"] != 10 {
		t.Errorf("passed: %v", passed)
	}
	// An event that comes again is answered as before and counts no more.
	if names, _ := a.at(t, event("3", "203.0.113.3", "x"), start); fmt.Sprint(names) != "[all]" {
		t.Errorf("one that passed, again: %v", names)
	}
	if names, _ := a.at(t, event("500", "203.0.113.3", "x"), start); len(names) > 0 {
		t.Errorf("one that was held back, again: %v", names)
	}
	// The first event after the window, whatever it is, brings the summary; again
	// it brings the same, and others bring none.
	late := event("late", "", "x")
	late.DataType = "of no rule"
	_, first := a.at(t, late, start.Add(time.Minute))
	_, again := a.at(t, late, start.Add(time.Minute))
	_, none := a.at(t, event("later", "", "x"), start.Add(time.Minute))
	if len(first) != 1 || len(again) != 1 || len(none) != 0 || first[0].Id != again[0].Id {
		t.Fatalf("%d summaries, again %d, then %d", len(first), len(again), len(none))
	}
	s := first[0]
	// 990 of the storm, and the one of the event of another rule.
	for _, want := range []string{"10 alerts were passed on", "991 more were held back", "storm.rule", "203.0.113.1 (142)"} {
		if !strings.Contains(s.Description, want) {
			t.Errorf("no %q in %s", want, s.Description)
		}
	}
	if s.Name != "Alert Storm: all" || s.TenantId != "t" || s.Severity != "high" || len(s.Events) != maxSample || s.Adversary.GetIp() == "" {
		t.Errorf("summary: %v", s)
	}
}

func TestStormOfATenantAndOfARuleEverywhere(t *testing.T) {
	a := compile(t, twoRules)
	a.guard.settings = stormSettings{Window: plugins.Duration(time.Minute), Tenant: 15}
	start := time.Now().Truncate(time.Minute)
	n := 0
	for i := range 100 {
		names, _ := a.at(t, event(fmt.Sprint(i), "203.0.113.1", "failed"), start)
		n += len(names)
	}
	_, summaries := a.at(t, event("late", "", "x"), start.Add(time.Hour))
	if n != 15 || len(summaries) != 1 || !strings.Contains(summaries[0].Description, "Rules: failed (93), all (92)") || summaries[0].Name != "Alert Storm: all rules of a tenant" {
		t.Errorf("%d passed; %v", n, summaries)
	}

	a.guard = newGuard(stormSettings{Window: plugins.Duration(time.Minute), Everywhere: 50}, a.Logger)
	passed := map[string]int{}
	for i := range 600 {
		e := event(fmt.Sprint("e", i), "203.0.113.1", "x")
		if e.TenantId = "loud"; i%20 == 0 {
			e.TenantId = fmt.Sprint("quiet", i%3)
		}
		names, _ := a.at(t, e, start)
		passed[e.TenantId] += len(names)
	}
	// The loud one had all that was left; each of the others still has its share.
	if passed["loud"] > 50 || passed["quiet0"] != 10 || passed["quiet1"] != 10 || passed["quiet2"] != 10 {
		t.Errorf("passed: %v", passed)
	}
}

// However many at once, the bound holds and each held back is counted once.
func TestStormConcurrently(t *testing.T) {
	a := compile(t, twoRules)
	a.guard.settings = stormSettings{Window: plugins.Duration(time.Minute), Rule: 100}
	start := time.Now().Truncate(time.Minute)
	var mu sync.Mutex
	passed := 0
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 500 { // each event comes from two
				names, _ := a.at(t, event(fmt.Sprint(w/2, "-", i), "203.0.113.1", "x"), start)
				mu.Lock()
				passed += len(names)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	_, summaries := a.at(t, event("late", "", "x"), start.Add(time.Minute))
	if passed != 200 || len(summaries) != 1 || !strings.Contains(summaries[0].Description, "1900 more were held back") {
		t.Errorf("%d passed; %v", passed, summaries)
	}
}

// Quiet events cost nothing that grows: no answers are kept for them.
func TestGuardKeepsOnlyAnswersWithAlerts(t *testing.T) {
	a := compile(t, twoRules)
	for i := range 100 {
		a.at(t, event(fmt.Sprint(i), "", "x"), time.Now())
	}
	if n := len(a.guard.answers.byEvent); n != 0 {
		t.Errorf("%d answers", n)
	}
	for i := range maxAnswers + 100 {
		a.at(t, event(fmt.Sprint(i), "203.0.113.1", "x"), time.Now())
	}
	if n := len(a.guard.answers.byEvent); n != maxAnswers || len(a.guard.answers.order) != maxAnswers {
		t.Errorf("%d answers", n)
	}
}
