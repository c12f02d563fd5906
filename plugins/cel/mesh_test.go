package cel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	"github.com/epmesh/epmesh/plugins/cel/mesh"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// net is instances that ask each other without a network. A node that is away does
// not answer.
type net struct {
	nodes map[string]*analyzer
	mu    sync.Mutex
	away  map[string]bool
	asked atomic.Int64
}

func (n *net) setAway(node string, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[node] = is
}

// side is the net as one of its nodes sees it.
type netSide struct {
	*net
	self string
}

func (s netSide) List() ([]string, bool) {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.nodes)), func(n string) bool { return n == s.self }), true
}

func (s netSide) Ask(ctx context.Context, node string, request []byte) ([]byte, error) {
	s.asked.Add(1)
	s.mu.Lock()
	away := s.away[node]
	s.mu.Unlock()
	if away {
		return nil, errors.New("no route")
	}
	return s.nodes[node].mesh.Answer(ctx, request, 1<<20), nil
}

// instances are so many, each with the rules.
func instances(count int, set *ruleSet, fatal func(...any)) *net {
	n := &net{nodes: map[string]*analyzer{}, away: map[string]bool{}}
	for i := range count {
		n.nodes[fmt.Sprint("n", i)] = nil
	}
	for name := range n.nodes {
		a := &analyzer{Instance: plugins.Instance{Logger: hclog.NewNullLogger()}, settings: defaults()}
		a.Storm = stormSettings{Window: plugins.Duration(time.Hour)}
		a.Breaker.Failures = 100 // each instance counts its own
		a.prepare()
		a.store = history.NewMemory(history.Limits{Events: 100_000, Bytes: 64 << 20, Age: time.Hour})
		if count > 1 {
			a.mesh = meshOf(n, name, a)
		}
		if err := a.use(set); err != nil {
			fatal(err)
		}
		n.nodes[name] = a
	}
	return n
}

func meshOf(n *net, name string, a *analyzer) *mesh.History {
	return mesh.New(mesh.Options{Self: name, Local: a.store, Transport: netSide{n, name}, Wait: time.Minute, Bytes: a.alertBytes})
}

func rulesOf(text string, fatal func(...any)) *ruleSet {
	rules, report := config.ParseRules("rules.yml", []byte(text))
	set, found := compileRules(rules, &config.Set{})
	if all := append(report.Errors(), found...); len(all) > 0 {
		fatal(all.String(), text)
	}
	return set
}

// told is what matters of alerts.
func told(alerts []*pb.Alert) string {
	var all []string
	for _, a := range alerts {
		var ids []string
		for _, e := range a.Events {
			ids = append(ids, e.Id)
		}
		all = append(all, fmt.Sprint(a.Id, " ", a.Name, " ", ids, " ", a.Errors))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func drawSearch(t *rapid.T, depth int) string {
	pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	with := []string{}
	for range rapid.IntRange(1, 2).Draw(t, "criteria") {
		with = append(with, fmt.Sprintf("{field: %s, operator: %s, value: '%s'}", pick("field", "origin.ip", "action", "raw"),
			pick("operator", "filter_term", "filter_term", "must_not_term", "filter_match", "must_not_match"),
			pick("value", "1", "2", "deny", "allow", "{{.origin.ip}}", "{{.origin.ip}}", "{{.action}}", "some words")))
	}
	s := fmt.Sprintf("{indexPattern: '%s', with: [%s], count: %d", pick("index", "v11-log-*", "v11-log-x-*"),
		strings.Join(with, ", "), rapid.SampledFrom([]int{0, 1, 2, 3, 5, 300}).Draw(t, "count"))
	if rapid.Bool().Draw(t, "window") {
		s += ", within: " + pick("within", "1m", "10m", "1h")
	}
	if depth < 2 && rapid.IntRange(0, 2).Draw(t, "or") == 0 {
		s += ", or: [" + drawSearch(t, depth+1) + "]"
	}
	return s + "}"
}

// The same events over one instance and over three give the same alerts, with the
// same events in them, whoever gets which and however often.
func TestManyInstancesAreAsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
			text += fmt.Sprintf("- name: r%d\n  dataTypes: [x, y]\n  where: %s\n  correlation:\n    - %s\n", i,
				rapid.SampledFrom([]string{`'true'`, `equals("action", "deny")`, `exists("origin.ip")`}).Draw(t, "where"), drawSearch(t, 0))
		}
		set := rulesOf(text, t.Fatal)
		one, many := instances(1, set, t.Fatal), instances(3, set, t.Fatal)
		now := time.Now()
		type given struct {
			e    *pb.Event
			node string
		}
		var before []given
		for n := range rapid.IntRange(1, 40).Draw(t, "events") {
			g := given{&pb.Event{
				Id: fmt.Sprint("e", n), DataType: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "type"), TenantId: "t",
				Action: rapid.SampledFrom([]string{"", "deny", "allow"}).Draw(t, "action"), Raw: rapid.SampledFrom([]string{"", "some text", "other words"}).Draw(t, "raw"),
				Origin:    &pb.Side{Ip: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "ip")},
				Timestamp: now.Add(-time.Duration(rapid.IntRange(0, 15).Draw(t, "age")) * time.Minute).Format(time.RFC3339Nano),
			}, fmt.Sprint("n", rapid.IntRange(0, 2).Draw(t, "node"))}
			if len(before) > 0 && rapid.IntRange(0, 5).Draw(t, "again") == 0 {
				g = rapid.SampledFrom(before).Draw(t, "old")
			}
			before = append(before, g)
			want, got := analyzed(t, one.nodes["n0"], g.e), analyzed(t, many.nodes[g.node], g.e)
			if told(want) != told(got) {
				t.Fatalf("%s\nevent %s on %s: one instance says\n%s\nthree say\n%s", text, g.e.Id, g.node, told(want), told(got))
			}
		}
	})
}

func analyzed(t interface {
	Context() context.Context
	Fatal(...any)
}, a *analyzer, e *pb.Event,
) (alerts []*pb.Alert) {
	if err := a.analyze(t.Context(), proto.CloneOf(e), func(al *pb.Alert) error { alerts = append(alerts, al); return nil }); err != nil {
		t.Fatal(err)
	}
	return alerts
}

// Of events that come at once, wherever, each sees the other or is seen: a rule that
// counts misses none and counts none twice.
func TestInstancesMissNoThreshold(t *testing.T) {
	n := instances(3, rulesOf(bruteForce, t.Fatal), t.Fatal)
	var found [60]int
	var group sync.WaitGroup
	for i := range found {
		group.Go(func() {
			for _, al := range n.nodes[fmt.Sprint("n", i%3)].alerts(t, event(fmt.Sprint(i), "203.0.113.1", "failed")) {
				found[i] = len(al.Events)
			}
		})
	}
	group.Wait()
	// As on one instance: with an order of the events, each sees those before it.
	slices.Sort(found[:])
	for i, saw := range found {
		if want := i + 1; i >= 2 && saw != want || i < 2 && saw != 0 {
			t.Fatalf("the alerts have %v events", found)
		}
	}
}

// An event that two instances keep, as it was delivered again, counts once, and it
// does not count itself.
func TestEventOnTwoNodesCountsOnce(t *testing.T) {
	n := instances(3, rulesOf(bruteForce, t.Fatal), t.Fatal)
	e := event("1", "203.0.113.1", "failed")
	for name, a := range n.nodes {
		if got := a.alerts(t, e); len(got) > 0 {
			t.Fatalf("%s: %s", name, told(got))
		}
	}
	if got := n.nodes["n1"].alerts(t, event("2", "203.0.113.1", "failed")); len(got) > 0 {
		t.Errorf("two events: %s", told(got))
	}
	if got := n.nodes["n2"].alerts(t, event("3", "203.0.113.1", "failed")); len(got) != 1 || len(got[0].Events) != 3 {
		t.Errorf("three events: %s", told(got))
	}
}

// The alert says who is missing, and the search goes on with what is there. Only
// rules whose conditions hold ask, and once for all searches.
func TestMissingNodeIsStated(t *testing.T) {
	text := strings.Replace(bruteForce, "deduplicateBy", "  - {indexPattern: 'v11-log-*', with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}], count: 1}\ndeduplicateBy", 1)
	n := instances(3, rulesOf(text, t.Fatal), t.Fatal)
	a := n.nodes["n0"]
	a.alerts(t, event("other", "203.0.113.1", "success"))
	if asked := n.asked.Load(); asked != 0 {
		t.Errorf("%d questions for an event that no rule holds for", asked)
	}
	n.nodes["n1"].alerts(t, event("1", "203.0.113.1", "failed"))
	n.asked.Store(0)
	a.alerts(t, event("2", "203.0.113.1", "failed"))
	if asked := n.asked.Load(); asked != 2 {
		t.Errorf("%d questions, want one to each other", asked)
	}
	n.setAway("n2", true)
	got := a.alerts(t, event("3", "203.0.113.1", "failed"))
	if len(got) != 1 || len(got[0].Errors) != 1 || got[0].Errors[0] != "history of node n2 is missing: no route" {
		t.Fatalf("one is away: %s", told(got))
	}
	// For a while it is not asked again.
	n.asked.Store(0)
	got = a.alerts(t, event("4", "203.0.113.1", "failed"))
	if len(got) != 1 || len(got[0].Errors) != 1 || len(got[0].Events) != 5 {
		t.Errorf("a moment later: %s", told(got))
	}
	n.setAway("n2", false)
	late := time.After(time.Minute)
	for i := 0; len(got[0].Errors) > 0; i++ {
		select {
		case <-late:
			t.Fatalf("never back: %s", told(got))
		case <-time.After(50 * time.Millisecond):
		}
		got = a.alerts(t, event(fmt.Sprint("again", i), "203.0.113.1", "failed"))
	}
}
