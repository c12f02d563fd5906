package cel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
)

func compiledRules(t testing.TB, text string) *Rules {
	t.Helper()
	list, report := config.ParseRules("r.yml", []byte(text))
	r, found := CompileRules(list, &config.Set{})
	if all := append(report.Errors(), found...); len(all) > 0 {
		t.Fatal(all.String())
	}
	return r
}

// An engine goes by the events' times: a stream of last year gives the alerts
// that it gave, and the same each time.
func TestEngineGoesByTheEventsTimes(t *testing.T) {
	r := compiledRules(t, bruteForce)
	run := func() (ids []string) {
		g := r.Engine(EngineOptions{})
		at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		for n, pause := range []time.Duration{0, time.Minute, time.Minute, 10 * time.Minute, time.Minute, time.Minute} {
			at = at.Add(pause)
			e := event(fmt.Sprint(n), "203.0.113.1", "failed")
			e.Timestamp = at.Format(time.RFC3339)
			for _, a := range g.Analyze(e) {
				ids = append(ids, fmt.Sprint(n, a.Id, a.Timestamp))
			}
		}
		return ids
	}
	first := run()
	if len(first) != 2 || first[0][0] != '2' || first[1][0] != '5' || !strings.HasSuffix(first[0], "2025-01-01T00:02:00Z") {
		t.Errorf("alerts: %q", first)
	}
	if again := run(); !slices.Equal(first, again) {
		t.Errorf("again: %q", again)
	}
}

// An event of the far future does not let the history go, and one without id or
// time takes its place in the stream.
func TestEngineStandsStrangeEvents(t *testing.T) {
	g := compiledRules(t, bruteForce).Engine(EngineOptions{})
	count := 0
	for n := range 6 {
		e := event("", "203.0.113.1", "failed")
		switch n {
		case 2:
			e.Timestamp = "2999-01-01T00:00:00Z"
		case 4:
			e.Timestamp = ""
		}
		count += len(g.Analyze(e))
	}
	if count != 4 {
		t.Errorf("%d alerts, want those of all but the first two", count)
	}
}

func TestOnly(t *testing.T) {
	r := compiledRules(t, "- {name: a, id: 7, dataTypes: [sshd], where: 'true'}\n- {name: b, dataTypes: [sshd], where: 'true'}")
	for _, name := range []string{"a", "7"} {
		few, err := r.Only(name)
		if err != nil || !slices.Equal(few.Names(), []string{"a"}) {
			t.Errorf("%s: %v, %v", name, few, err)
		}
	}
	if _, err := r.Only("a", "c"); err == nil || !strings.Contains(err.Error(), `no rule is called "c"`) {
		t.Errorf("c: %v", err)
	}
}

func TestExplain(t *testing.T) {
	r := compiledRules(t, bruteForce)
	g := r.Engine(EngineOptions{})
	for n := range 3 {
		g.Analyze(event(fmt.Sprint(n), "203.0.113.1", "failed"))
	}
	explain := func(e *pb.Event) Explanation {
		_, all := g.Explain(e, true)
		if len(all) != 1 {
			t.Fatalf("%d explanations", len(all))
		}
		return all[0]
	}
	x := explain(event("3", "203.0.113.1", "failed"))
	if x.Outcome != Fires || x.Alert == nil || len(x.Searches) != 1 || !x.Searches[0].Holds || x.Searches[0].Count != 2 {
		t.Errorf("fires: %+v", x)
	}
	x = explain(event("4", "203.0.113.2", "failed"))
	if x.Outcome != HistoryNotMet || x.Searches[0].Found != 0 || x.Alert != nil || !strings.Contains(x.Searches[0].With[0], `= "203.0.113.2"`) {
		t.Errorf("history: %+v", x)
	}
	x = explain(event("5", "", "failed"))
	if x.Outcome != NotMet || len(x.Parts) != 2 || !x.Parts[0].Holds || x.Parts[1].Holds || !x.Parts[1].Values[0].Missing {
		t.Errorf("condition: %+v", x)
	}
	other := event("6", "", "failed")
	other.DataType = "other"
	if x = explain(other); x.Outcome != OtherDataTypes || !slices.Equal(x.DataTypes, []string{"sshd"}) {
		t.Errorf("another type: %+v", x)
	}
}

// A rule that has a mistake now goes on as it was; one that was taken out does
// not; and nothing of the history is lost on the way.
func TestReloadKeepsWhatBroke(t *testing.T) {
	dir := shortdir.New(t)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, "rules", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out logbuffer.Buffer
	a := &analyzer{Instance: plugins.Instance{Name: "cel", Dir: dir, Logger: plugins.NewLogger("cel", &out)}, settings: defaults()}
	a.prepare()
	a.store = history.NewMemory(history.Limits{Events: 1000, Bytes: 1 << 20, Age: time.Hour})
	names := func(id string) (names []string) {
		for _, al := range a.alerts(t, event(id, "203.0.113.1", "failed")) {
			names = append(names, al.Name)
		}
		return names
	}
	good := "- {name: one, dataTypes: [sshd], where: 'true'}\n- {name: two, dataTypes: [sshd], where: 'true'}\n"
	write("a.yml", good)
	write("b.yml", bruteForce)
	a.load()
	if got := names("1"); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("alerts: %v", got)
	}
	names("2")
	for name, step := range map[string]struct {
		a, b string
		want []string
	}{
		"a bad condition":     {strings.Replace(good, "where: 'true'", "where: 'exists('", 1), bruteForce, []string{"two", "Brute force", "one"}},
		"a bad type":          {strings.Replace(good, "dataTypes: [sshd]", "dataTypes: {x: y}", 1), bruteForce, []string{"two", "Brute force", "one"}},
		"no YAML":             {good, "name: [", []string{"one", "two", "Brute force"}},
		"a rule is taken out": {"- {name: two, dataTypes: [sshd], where: 'true'}\n", bruteForce, []string{"two", "Brute force"}},
	} {
		write("a.yml", good)
		write("b.yml", bruteForce)
		a.load()
		write("a.yml", step.a)
		write("b.yml", step.b)
		a.load()
		if got := names("3 " + name); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v\n%s", name, got, step.want, out.String())
		}
	}
	if !strings.Contains(out.String(), "rule goes on as it was before the mistake") {
		t.Error("nobody is told")
	}
}

// Events that are on their way find their history while the rules change.
func TestReloadWhileEventsPass(t *testing.T) {
	a := compile(t, bruteForce)
	other := compiledRules(t, strings.ReplaceAll(strings.ReplaceAll(bruteForce, "origin.ip.keyword", "origin.ip"), "Brute force", "Other")).set
	first := a.set.Load()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 50 {
			use(t, &a.core, []*ruleSet{other, first}[n%2])
		}
	}()
	alerts := 0
	for n := range 300 {
		alerts += len(a.alerts(t, event(fmt.Sprint(n), "203.0.113.1", "failed")))
	}
	<-done
	if alerts != 298 {
		t.Errorf("%d alerts of 300 events, want all but the first two", alerts)
	}
}
