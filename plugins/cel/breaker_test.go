package cel

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
)

// needsUser has a placeholder that not every event has a value for.
const needsUser = `
name: needs a user
dataTypes: [sshd]
where: exists("origin.ip")
correlation: [{indexPattern: 'v11-log-sshd-*', with: [{field: origin.user, operator: filter_term, value: '{{.origin.user}}'}], within: 1h, count: 0}]
`

// Events that lack a field raise the one alert, and do not turn the rule off.
func TestMissingFieldRaisesOneAlertAndStaysOn(t *testing.T) {
	a := compile(t, needsUser)
	var raised []string
	for n := range 20 {
		for _, al := range a.alerts(t, event(fmt.Sprint(n), "203.0.113.1", "failed")) {
			raised = append(raised, fmt.Sprint(n, " ", al.Name, " ", al.Id))
			if !strings.Contains(al.Description, "{{.origin.user}}: the event has no such value") || !strings.Contains(al.Description, "stays on") || al.TenantId != "t" {
				t.Errorf("alert: %v", al)
			}
		}
	}
	if len(raised) != 1 || !strings.HasPrefix(raised[0], "4 Circuit Breaker: needs a user ") {
		t.Fatalf("raised: %q", raised)
	}
	// The event that raised it has the same answer when it comes again.
	again := a.alerts(t, event("4", "203.0.113.1", "failed"))
	if len(again) != 1 || !strings.HasSuffix(raised[0], again[0].Id) {
		t.Errorf("again: %v", again)
	}
	good := event("good", "203.0.113.1", "failed")
	good.Origin.User = "root"
	if got := a.alerts(t, good); len(got) != 1 || got[0].Name != "needs a user" {
		t.Errorf("a rule was turned off by events that lack a field: %v", got)
	}
}

// An event that comes again is one failure.
func TestRepeatedFailureCountsOnce(t *testing.T) {
	a := compile(t, needsUser)
	for range 20 {
		if got := a.alerts(t, event("same", "203.0.113.1", "failed")); len(got) > 0 {
			t.Fatalf("alerts: %v", got)
		}
	}
}

func TestOldFailuresDoNotCount(t *testing.T) {
	a := compile(t, needsUser)
	now := time.Now()
	for n := range 20 {
		if _, broken := judged(t, &a.core, event(fmt.Sprint(n), "203.0.113.1", "failed"), now.Add(time.Duration(n)*20*time.Minute)); len(broken) > 0 {
			t.Fatalf("event %d: %v", n, broken)
		}
	}
}

// A rule that takes too much is turned off for the tenant whose events it takes
// too much for, tried again after the pause, and on again once it is changed.
func TestCostlyRuleIsTurnedOff(t *testing.T) {
	const costly = `
- name: costly
  dataTypes: [sshd]
  where: log.list.all(a, log.list.all(b, log.list.all(c, a + b + c > 0.0)))
- {name: other, dataTypes: [sshd], where: 'exists("origin.ip")'}
`
	a := compile(t, costly)
	bad := func(id, tenant string) []string {
		e := event(id, "203.0.113.1", "x")
		e.TenantId = tenant
		e.Log = list(t, 200)
		var names []string
		for _, al := range a.alerts(t, e) {
			names = append(names, al.Name)
		}
		return names
	}
	for n := range 4 {
		if got := bad(fmt.Sprint(n), "t"); fmt.Sprint(got) != "[other]" {
			t.Fatalf("event %d: %v", n, got)
		}
	}
	if got := bad("4", "t"); fmt.Sprint(got) != "[other Circuit Breaker: costly]" {
		t.Fatalf("the fifth: %v", got)
	}
	off := func(tenant string, after time.Duration) bool {
		e := event("x", "203.0.113.1", "x")
		e.TenantId = tenant
		return a.breakers.open(a.set.Load().all[0], e, time.Now().Add(after))
	}
	if !off("t", 0) || off("u", 0) || off("t", 11*time.Minute) {
		t.Errorf("off for t: %t, for u: %t, for t after the pause: %t", off("t", 0), off("u", 0), off("t", 11*time.Minute))
	}
	load := func(text string) {
		rules, _ := config.ParseRules("r.yml", []byte(text))
		set, _ := compileRules(rules, &config.Set{})
		use(t, &a.core, set)
	}
	if load(costly); !off("t", 0) {
		t.Error("on again though nothing of it was changed")
	}
	if load(strings.Replace(costly, "300", "300", 1) + "- {name: third, dataTypes: [a], where: 'true'}\n"); !off("t", 0) {
		t.Error("on again since another rule came")
	}
	if load(strings.Replace(costly, "> 0.0", "> 1.0", 1)); off("t", 0) {
		t.Error("off though it was changed")
	}
}

// With disable: any a rule is turned off as the reference engine does it.
func TestDisableAny(t *testing.T) {
	a := compile(t, needsUser)
	a.breakers.settings.Disable = "any"
	for n := range 5 {
		a.alerts(t, event(fmt.Sprint(n), "203.0.113.1", "failed"))
	}
	good := event("good", "203.0.113.1", "failed")
	good.Origin.User = "root"
	if got := a.alerts(t, good); len(got) != 0 {
		t.Errorf("alerts: %v", got)
	}
}

// A bound on tenants holds, and those beyond share one breaker.
func TestBreakersAreBounded(t *testing.T) {
	a := compile(t, needsUser)
	for n := range maxBroken + 500 {
		e := event(fmt.Sprint(n), "203.0.113.1", "failed")
		e.TenantId = fmt.Sprint("tenant-", n)
		a.alerts(t, e)
	}
	for _, tenants := range a.breakers.byRule {
		if len(tenants) > maxBroken+1 {
			t.Errorf("%d tenants", len(tenants))
		}
	}
}
