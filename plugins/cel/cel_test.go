package cel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

const bruteForce = `
name: Brute force
category: Credential Access
technique: T1110
description: many failures
references: [https://example.com/a]
dataTypes: [sshd]
impact: {confidentiality: 1, integrity: 3}
where: equals("actionResult", "failed") && exists("origin.ip")
afterEvents:
  - indexPattern: v11-log-sshd-*
    with:
      - {field: origin.ip.keyword, operator: filter_term, value: '{{.origin.ip}}'}
      - {field: actionResult, operator: must_not_term, value: success}
    within: 5m
    count: 2
deduplicateBy: [adversary.ip]
groupBy: [adversary.ip]
`

func event(id, ip, result string) *pb.Event {
	return &pb.Event{
		Id: id, DataType: "sshd", DataSource: "web-1", TenantId: "t", TenantName: "T", ActionResult: result,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		Origin:    &pb.Side{Ip: ip}, Target: &pb.Side{Host: "web-1"},
	}
}

// compile makes an analyzer of rules, without a process around it.
func compile(t testing.TB, text string) *analyzer {
	t.Helper()
	rules, report := config.ParseRules("rules.yml", []byte(text))
	set, found := compileRules(rules, &config.Set{})
	if all := append(report.Errors(), found...); len(all) > 0 {
		t.Fatal(all.String())
	}
	a := &analyzer{
		Instance: plugins.Instance{Logger: hclog.NewNullLogger()},
		settings: defaults(),
	}
	a.AlertBytes = 1 << 20
	a.prepare()
	a.store = history.NewMemory(history.Limits{Events: 1000, Bytes: 1 << 20, Age: time.Hour})
	use(t, &a.core, set)
	return a
}

func (a *analyzer) alerts(t testing.TB, e *pb.Event) (alerts []*pb.Alert) {
	t.Helper()
	if err := a.analyze(t.Context(), e, func(al *pb.Alert) error { alerts = append(alerts, al); return nil }); err != nil {
		t.Fatal(err)
	}
	return alerts
}

func TestHistoryAndAlert(t *testing.T) {
	a := compile(t, bruteForce)
	for n, e := range []*pb.Event{event("1", "203.0.113.1", "failed"), event("2", "203.0.113.2", "failed"), event("3", "203.0.113.1", "failed")} {
		if got := a.alerts(t, e); len(got) > 0 {
			t.Fatalf("event %d: %v", n, got)
		}
	}
	last := event("4", "203.0.113.1", "failed")
	alerts := a.alerts(t, last)
	if len(alerts) != 1 {
		t.Fatalf("%d alerts", len(alerts))
	}
	al := alerts[0]
	var ids []string
	for _, e := range al.Events {
		ids = append(ids, e.Id)
	}
	if !slices.Equal(ids, []string{"1", "3", "4"}) {
		t.Errorf("events %v", ids)
	}
	if al.Name != "Brute force" || al.ImpactScore != 3 || al.Severity != "high" || al.Adversary.GetIp() != "203.0.113.1" ||
		al.Target.GetHost() != "web-1" || al.TenantId != "t" || al.TenantName != "T" || al.DataType != "sshd" || al.DataSource != "web-1" ||
		al.Category == "" || al.Technique == "" || len(al.References) != 1 || len(al.DeduplicateBy) != 1 || len(al.GroupBy) != 1 || al.Timestamp == "" {
		t.Errorf("alert: %v", al)
	}
	// Again: the same alert, and no event counts twice.
	again := a.alerts(t, last)
	if len(again) != 1 || again[0].Id != al.Id || len(again[0].Events) != 3 {
		t.Errorf("again: %v", again)
	}
}

func TestSameEventTwiceCountsOnce(t *testing.T) {
	a := compile(t, bruteForce)
	for range 5 {
		if got := a.alerts(t, event("same", "203.0.113.1", "failed")); len(got) > 0 {
			t.Fatal("an event was counted more than once")
		}
	}
	// What did not alert the first time does not when it comes again later.
	a.alerts(t, event("2", "203.0.113.1", "failed"))
	a.alerts(t, event("3", "203.0.113.1", "failed"))
	if got := a.alerts(t, event("2", "203.0.113.1", "failed")); len(got) > 0 {
		t.Error("a repeated event saw what came after it")
	}
}

func TestConcurrentEventsMissNoThreshold(t *testing.T) {
	a := compile(t, bruteForce)
	var mu sync.Mutex
	var all []*pb.Alert
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			got := a.alerts(t, event(fmt.Sprint(n), "203.0.113.1", "failed"))
			mu.Lock()
			all = append(all, got...)
			mu.Unlock()
		})
	}
	group.Wait()
	if len(all) != 48 {
		t.Errorf("%d alerts of 50 events, want all but the first two", len(all))
	}
}

func TestSearches(t *testing.T) {
	const head = "name: r\ndataTypes: [sshd]\nwhere: equals(\"actionResult\", \"success\")\ncorrelation:\n"
	old := event("old", "203.0.113.1", "failed")
	old.Timestamp = time.Now().Add(-10 * time.Minute).UTC().Format(time.RFC3339Nano)
	other := event("other", "203.0.113.1", "failed")
	other.DataType = "ftpd"
	old.Raw, other.Raw = "Failed password for root", "Session closed"
	for name, test := range map[string]struct {
		search string
		want   []string // the history, nil for no alert
	}{
		"term":           {"- {indexPattern: 'v11-log-sshd-*', with: [{field: actionResult, operator: filter_term, value: failed}], within: 1h, count: 1}", []string{"old"}},
		"window":         {"- {indexPattern: 'v11-log-sshd-*', with: [{field: actionResult, operator: filter_term, value: failed}], within: 5m, count: 1}", nil},
		"days":           {"- {indexPattern: 'v11-log-sshd-*', with: [{field: actionResult, operator: filter_term, value: failed}], within: 7d, count: 1}", []string{"old"}},
		"now-":           {"- {indexPattern: 'v11-log-sshd-*', with: [{field: actionResult, operator: filter_term, value: failed}], within: now-15m, count: 1}", []string{"old"}},
		"any index":      {"- {indexPattern: 'v11-log-*', with: [{field: actionResult, operator: filter_term, value: failed}], within: 1h, count: 2}", []string{"old", "other"}},
		"match a word":   {"- {indexPattern: 'v11-log-*', with: [{field: raw, operator: filter_match, value: 'FAILED login'}], within: 1h, count: 1}", []string{"old"}},
		"must not match": {"- {indexPattern: 'v11-log-*', with: [{field: raw, operator: must_not_match, value: 'failed'}], within: 1h, count: 1}", []string{"other"}},
		"must not term":  {"- {indexPattern: 'v11-log-*', with: [{field: dataType, operator: must_not_term, value: ftpd}], within: 1h, count: 1}", []string{"old"}},
		"or":             {"- {indexPattern: 'v11-log-sshd-*', with: [{field: action, operator: filter_term, value: none}], count: 1, or: [{indexPattern: 'v11-log-ftpd-*', with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}], count: 1}]}", []string{"other"}},
		"unresolved":     {"- {indexPattern: 'v11-log-*', with: [{field: origin.ip, operator: filter_term, value: '{{.origin.user}}'}], count: 0}", nil},
		"all must hold":  {"- {indexPattern: 'v11-log-*', with: [{field: raw, operator: filter_match, value: failed}], count: 1}\n  - {indexPattern: 'v11-log-*', with: [{field: raw, operator: filter_match, value: nothing}], count: 1}", nil},
		"count 0":        {"- {indexPattern: 'v11-log-*', with: [{field: action, operator: filter_term, value: nothing}], count: 0}", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			a := compile(t, head+"  "+test.search)
			a.alerts(t, old)
			a.alerts(t, other)
			alerts := a.alerts(t, event("now", "203.0.113.1", "success"))
			if test.want == nil {
				if len(alerts) > 0 {
					t.Errorf("alerts: %v", alerts)
				}
				return
			}
			if len(alerts) != 1 {
				t.Fatalf("%d alerts", len(alerts))
			}
			var ids []string
			for _, e := range alerts[0].Events {
				ids = append(ids, e.Id)
			}
			if !slices.Equal(ids, append(test.want, "now")) {
				t.Errorf("events %v", ids)
			}
		})
	}
}

func TestAlertIsBounded(t *testing.T) {
	a := compile(t, bruteForce)
	a.alertEvents = 5
	for n := range 30 {
		for _, al := range a.alerts(t, event(fmt.Sprint(n), "203.0.113.1", "failed")) {
			if len(al.Events) > 6 || al.Events[len(al.Events)-1].Id != fmt.Sprint(n) {
				t.Fatalf("event %d: %d events", n, len(al.Events))
			}
		}
	}
	a.alertEvents, a.alertBytes = 100, 200
	if al := a.alerts(t, event("x", "203.0.113.1", "failed")); len(al) != 1 || len(al[0].Events) > 3 {
		t.Errorf("bytes: %v", al)
	}
}

func TestMistakesAreReportedAndStopNothing(t *testing.T) {
	rules, report := config.ParseRules("r.yml", []byte(`
- {name: good, dataTypes: [a], where: 'exists("x")'}
- name: bad condition
  dataTypes: [a]
  where: exists(
- {name: good, dataTypes: [a], where: 'exists("y")'}
- name: bad operator
  dataTypes: [a]
  where: exists("x")
  correlation: [{indexPattern: 'v11-log-*', with: [{field: a, operator: is, value: b}], count: 1}]
- name: bad window
  dataTypes: [a]
  where: exists("x")
  correlation: [{indexPattern: 'v11-log-*', with: [{field: a, operator: filter_term, value: b}], within: soon, count: 1}]
- name: no index
  dataTypes: [a]
  where: exists("x")
  correlation: [{with: [{field: a, operator: filter_term, value: b}], count: 1}]
- {name: last, dataTypes: [a], where: 'exists("x")'}
`))
	if len(report.Errors()) > 0 {
		t.Fatal(report.String())
	}
	set, found := compileRules(rules, &config.Set{})
	if set.count != 2 {
		t.Errorf("%d rules", set.count)
	}
	text := found.String()
	for _, want := range []string{
		`r.yml:5:10: error: rule "bad condition": where:`,
		`r.yml:6:3: error: the rule "good" stands in r.yml:2:3 already`,
		`r.yml:7:3: error: rule "bad operator": correlation[0]: with[0]: operator is "is"`,
		`within is "soon"`,
		`indexPattern is empty`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestDisabledRules(t *testing.T) {
	rules, _ := config.ParseRules("r.yml", []byte("- {id: 1, name: a, dataTypes: [sshd], where: 'true'}\n- {id: 2, name: b, dataTypes: [sshd], where: 'true'}\n- {name: c, dataTypes: [sshd], where: 'true'}"))
	set, found := compileRules(rules, &config.Set{DisabledRules: []uint64{1}, Tenants: []*pb.Tenant{{Id: "t", DisabledRules: []uint64{2}}}})
	if len(found) > 0 {
		t.Fatal(found.String())
	}
	a := compile(t, "[]")
	use(t, &a.core, set)
	names := func(e *pb.Event) (names []string) {
		for _, al := range a.alerts(t, e) {
			names = append(names, al.Name)
		}
		return names
	}
	if got := names(event("1", "x", "y")); !slices.Equal(got, []string{"c"}) {
		t.Errorf("tenant t: %v", got)
	}
	e := event("1", "x", "y")
	e.TenantId = "u"
	if got := names(e); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("tenant u: %v", got)
	}
}

func TestAdversaryTarget(t *testing.T) {
	a := compile(t, "name: r\ndataTypes: [sshd]\nadversary: target\nwhere: 'true'")
	al := a.alerts(t, event("1", "203.0.113.1", "failed"))[0]
	if al.Adversary.GetHost() != "web-1" || al.Target.GetIp() != "203.0.113.1" || al.Severity != "none" {
		t.Errorf("alert: %v", al)
	}
}

// The plugin as a process runs it: served, with rules that change meanwhile.
func TestServedAndReloaded(t *testing.T) {
	dir := shortdir.New(t)
	file := filepath.Join(dir, "rules", "sub", "r.yml")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("name: first\ndataTypes: [sshd]\nwhere: exists(\"origin.ip\")"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out logbuffer.Buffer
	r, err := New(plugins.Instance{Name: "detect", Dir: dir, Logger: plugins.NewLogger("detect", &out), Config: gjson.Parse(`{"bundled":"cel","reload":"50ms"}`)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	client := pb.NewAnalysisClient(enginetest.Dial(t, dir, "detect_analysis.sock"))
	names := func() (names []string) {
		stream, err := client.Analyze(t.Context(), event("1", "203.0.113.1", "x"))
		for err == nil {
			var a *pb.Alert
			if a, err = stream.Recv(); err == nil {
				names = append(names, a.Name)
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return names
	}
	if got := names(); !slices.Equal(got, []string{"first"}) {
		t.Errorf("alerts: %v", got)
	}
	if err := os.WriteFile(file, []byte("- {name: second, dataTypes: [sshd], where: 'true'}\n- {name: broken, dataTypes: [sshd], where: 'exists('}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); !slices.Equal(names(), []string{"second"}); {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("alerts: %v\n%s", names(), out.String())
		}
	}
	if !strings.Contains(out.String(), "r.yml:2:") {
		t.Errorf("the broken rule is not named:\n%s", out.String())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func BenchmarkAnalyze(b *testing.B) {
	a := compile(b, bruteForce)
	a.store = history.NewMemory(history.Limits{Events: 100_000, Bytes: 64 << 20, Age: time.Hour})
	set := a.set.Load()
	if err := a.store.Watch(history.Paths{Terms: set.terms, Words: set.words}); err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if err := a.analyze(b.Context(), event(fmt.Sprint(n), fmt.Sprint(n%10_000), "failed"), func(*pb.Alert) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// use and judged are those of a core whose history takes everything.
func use(t testing.TB, c *core, set *ruleSet) {
	t.Helper()
	if err := c.use(set); err != nil {
		t.Fatal(err)
	}
}

func judged(t testing.TB, c *core, e *pb.Event, now time.Time) ([]hit, []*pb.Alert) {
	t.Helper()
	hits, broken, err := c.judge(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	return hits, broken
}
