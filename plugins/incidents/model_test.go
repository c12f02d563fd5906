package incidents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

// model is what the plugin promises, said plainly: one process that does one
// thing at a time and forgets nothing.
type model struct {
	settings
	answers map[string]entry // by tenant and id
	first   map[string]entry // by what equal alerts share
	groups  map[string]*incident
}

func newModel(s settings) *model {
	return &model{settings: s, answers: map[string]entry{}, first: map[string]entry{}, groups: map[string]*incident{}}
}

func (m *model) take(f *facts, home map[string]string) entry {
	name := f.record
	if e, ok := m.answers[name]; ok {
		return e
	}
	e := entry{ID: f.id, Kind: joined, Raised: f.raised, At: f.at}
	group := f.group
	first, ok := m.first[f.same]
	if f.same != "" && ok && f.at-first.At < m.DeduplicateFor.D().Milliseconds() {
		e.Kind, e.Of, group = duplicate, first.ID, home[f.same]
		i := m.groups[group]
		if m.isOpen(i, f.at) {
			i.Last = max(i.Last, f.at)
		}
		i.Duplicates++
	} else {
		if f.same != "" {
			m.first[f.same], home[f.same] = e, group
		}
		i := m.groups[group]
		if !m.isOpen(i, f.at) {
			e.Kind = opened
			i = &incident{Parent: f.id, Name: f.name, First: f.at, Last: f.at}
			m.groups[group] = i
		}
		i.Alerts++
		i.First, i.Last = min(i.First, f.at), max(i.Last, f.at)
		e.Rose = e.Kind == joined && f.severity > i.Severity
		i.Severity = max(i.Severity, f.severity)
		if e.Kind == joined && len(i.Children) < m.MaxChildren {
			i.Children = append(i.Children, f.id)
		}
		for _, l := range []struct {
			list *[]string
			v    string
		}{{&i.Names, f.name}, {&i.Targets, f.target}} {
			if l.v != "" && len(*l.list) < maxNames && !slices.Contains(*l.list, l.v) {
				*l.list = append(*l.list, l.v)
			}
		}
	}
	i := m.groups[group]
	e.Parent, e.First, e.Last, e.Severity, e.Alerts, e.Duplicates = i.Parent, i.First, i.Last, i.Severity, i.Alerts, i.Duplicates
	e.Children, e.Names, e.Targets = len(i.Children), len(i.Names), len(i.Targets)
	m.answers[name] = e
	return e
}

func (m *model) isOpen(i *incident, at int64) bool {
	return i != nil && at-i.Last < m.CloseAfter.D().Milliseconds() && at-i.First < m.MaxOpen.D().Milliseconds()
}

// faulty is a store that fails now and then, before or after it has stored.
type faulty struct {
	store
	mu   sync.Mutex
	fail func() int // 0: not; 1: before; 2: after
}

func (f *faulty) Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	f.mu.Lock()
	how := f.fail()
	f.mu.Unlock()
	if how == 1 {
		return 0, errors.New("not stored")
	}
	r, err := f.store.Put(ctx, key, value, revision, keep)
	if how == 2 && err == nil {
		return 0, errors.New("stored, but nobody is told")
	}
	return r, err
}

func smallSettings() settings {
	s := defaults()
	s.DeduplicateFor, s.CloseAfter, s.MaxOpen = plugins.Duration(time.Hour), plugins.Duration(20*time.Minute), plugins.Duration(2*time.Hour)
	s.MaxChildren, s.Cache = 5, 3
	return s
}

// Whatever comes, in whatever order and however often, through any of several
// processes that are started anew at any time: each alert gets the answer that
// the model gives it, and the same message each time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := smallSettings()
		m, home := newModel(s), map[string]string{}
		shared := newMemory()
		now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
		ledgers := make([]*ledger, 3)
		start := func(n int) {
			if ledgers[n] != nil {
				ledgers[n].close()
			}
			ledgers[n] = newLedger(&s, shared, hclog.NewNullLogger())
			ledgers[n].now = func() time.Time { return now }
		}
		for n := range ledgers {
			start(n)
		}
		defer func() {
			for _, l := range ledgers {
				l.close()
			}
		}()
		var sent []*pb.Alert
		messages := map[string]string{}
		steps := rapid.IntRange(1, 150).Draw(t, "steps")
		for n := range steps {
			var a *pb.Alert
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what == 0:
				start(rapid.IntRange(0, len(ledgers)-1).Draw(t, "anew"))
				continue
			case what == 1:
				now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
				continue
			case what <= 3 && len(sent) > 0:
				a = rapid.SampledFrom(sent).Draw(t, "again")
			default:
				a = &pb.Alert{
					Id: fmt.Sprint("a", n), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), TenantId: "t",
					Severity:  rapid.SampledFrom(ranks).Draw(t, "severity"),
					Adversary: &pb.Side{Ip: rapid.SampledFrom([]string{"1", "1", "1", "2"}).Draw(t, "ip")},
					Target:    &pb.Side{Host: rapid.SampledFrom([]string{"h1", "h2"}).Draw(t, "host")},
					Timestamp: now.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "late")) * time.Minute).Format(time.RFC3339Nano),
				}
				if rapid.IntRange(0, 4).Draw(t, "timeless") == 0 {
					// The plugin takes such an alert as raised when it first comes.
					a.Timestamp = now.Format(time.RFC3339Nano)
				}
				a.DeduplicateBy = rapid.SampledFrom([][]string{nil, nil, {"adversary.ip"}, {"adversary.ip", "target.host"}}).Draw(t, "same")
				a.GroupBy = rapid.SampledFrom([][]string{nil, nil, {"target.host"}}).Draw(t, "group")
				sent = append(sent, a)
			}
			l := ledgers[rapid.IntRange(0, len(ledgers)-1).Draw(t, "process")]
			f := factsOf(a, &s, now)
			// From memory, a process may call a late alert the duplicate of a first
			// that another has followed since: as true, but not what the model says.
			l.claims = newLRU[seen[claim]](s.Cache)
			o, err := l.take(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.take(f, home), o.entry); diff != "" {
				t.Fatalf("alert %s %s (-model +plugin):\n%s", a.Id, o.entry.Kind, diff)
			}
			msg, err := (&correlator{settings: s}).message(f, o)
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := messages[a.Id]; ok && before != msg.String() {
				t.Fatalf("alert %s, then\n%s\nand now\n%s", a.Id, before, msg)
			}
			messages[a.Id] = msg.String()
		}
	})
}

// ledgerOf checks a whole run by what left it, without looking at the state: the
// answers of each alert are one, and they count without gaps.
func ledgerOf(t *testing.T, answers map[string]map[entry]bool) {
	t.Helper()
	type place struct {
		parent string
		n      int
	}
	alerts, duplicates := map[place]string{}, map[place]string{}
	most := map[string]int{}
	parents := map[string]bool{}
	for id, got := range answers {
		if len(got) != 1 {
			t.Errorf("alert %s has %d answers: %v", id, len(got), got)
			continue
		}
		for e := range maps.Keys(got) {
			if e.Kind == duplicate {
				if e.Parent == "" {
					continue
				}
				p := place{e.Parent, e.Duplicates}
				if other, ok := duplicates[p]; ok {
					t.Errorf("%s and %s are both duplicate %d of %s", id, other, p.n, p.parent)
				}
				duplicates[p] = id
				continue
			}
			p := place{e.Parent, e.Alerts}
			if other, ok := alerts[p]; ok {
				t.Errorf("%s and %s are both alert %d of %s", id, other, p.n, p.parent)
			}
			alerts[p] = id
			most[e.Parent] = max(most[e.Parent], e.Alerts)
			if (e.Kind == opened) != (e.Parent == id) || (e.Kind == opened) != (e.Alerts == 1) {
				t.Errorf("alert %s is a %s, alert %d of parent %s", id, e.Kind, e.Alerts, e.Parent)
			}
			if e.Kind == opened {
				parents[id] = true
			}
		}
	}
	for parent, n := range most {
		if !parents[parent] {
			t.Errorf("parent %s has not left as one", parent)
		}
		for i := 1; i <= n; i++ {
			if _, ok := alerts[place{parent, i}]; !ok {
				t.Errorf("alert %d of %s is missing", i, parent)
			}
		}
	}
}

// Several processes at once on few groups, over a store that fails, each alert
// several times.
func TestConcurrentLedgers(t *testing.T) {
	for _, dedupe := range []bool{false, true} {
		t.Run(fmt.Sprint("deduplicate ", dedupe), func(t *testing.T) {
			s := smallSettings()
			s.Cache = 100
			n := 0
			shared := &faulty{store: newMemory(), fail: func() int { n++; return map[int]int{0: 1, 5: 2}[n%29] }}
			const processes, alerts, times = 4, 300, 3
			var mu sync.Mutex
			answers := map[string]map[entry]bool{}
			var group sync.WaitGroup
			for p := range processes {
				l := newLedger(&s, shared, hclog.NewNullLogger())
				t.Cleanup(l.close)
				l.away = time.Millisecond
				for i := range alerts {
					for k := range times {
						if (i+k)%processes != p {
							continue
						}
						a := alert(fmt.Sprint("a", i), fmt.Sprint("ip", i%3))
						if dedupe {
							a.DeduplicateBy, a.Target.Host = []string{"target.host", "adversary.ip"}, fmt.Sprint("h", i%20)
							if i%2 == 0 {
								a.GroupBy = []string{"target.host"}
							}
						}
						group.Go(func() {
							o, err := l.take(t.Context(), factsOf(a, &s, time.Now()))
							for err != nil && t.Context().Err() == nil {
								o, err = l.take(t.Context(), factsOf(a, &s, time.Now()))
							}
							mu.Lock()
							defer mu.Unlock()
							if answers[a.Id] == nil {
								answers[a.Id] = map[entry]bool{}
							}
							answers[a.Id][o.entry] = true
						})
					}
				}
			}
			group.Wait()
			if len(answers) != alerts {
				t.Errorf("%d alerts", len(answers))
			}
			ledgerOf(t, answers)
			firsts := map[string]int{}
			for _, got := range answers {
				for e := range got {
					firsts[string(e.Kind)]++
				}
			}
			t.Log(firsts)
			if want := map[bool]int{false: 0, true: 60}[dedupe]; dedupe && firsts["new"]+firsts["update"] != want {
				t.Errorf("%v, want %d that are no duplicates", firsts, want)
			}
		})
	}
}

// The first of equal alerts is claimed and never comes: after a while another
// takes its place, and if it comes after all it is the duplicate.
func TestTakeOver(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprint("in groups of their own ", apart), func(t *testing.T) {
			s := defaults()
			now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
			l := newLedger(&s, newMemory(), hclog.NewNullLogger())
			defer l.close()
			l.now = func() time.Time { return now }
			of := func(id string) *facts {
				a := alert(id, "x")
				a.DeduplicateBy = []string{"adversary.ip"}
				if a.GroupBy = []string{"target.host"}; apart {
					a.Target.Host = "h" + id
				}
				return factsOf(a, &s, now)
			}
			take := func(f *facts, k kind, of string) entry {
				t.Helper()
				o, err := l.take(t.Context(), f)
				if err != nil || o.entry.Kind != k || o.entry.Of != of {
					t.Fatalf("alert %s: %+v %v, want %s of %q", f.id, o.entry, err, k, of)
				}
				return o.entry
			}
			lost := of("lost")
			if err := l.claim(t.Context(), lost, seen[claim]{}); err != nil {
				t.Fatal(err)
			}
			early := take(of("early"), duplicate, "lost")
			if early.Parent != "" || early.Duplicates != 1 {
				t.Errorf("early: %+v", early)
			}
			now = now.Add(2 * takeOver)
			take(of("next"), opened, "")
			take(of("early"), duplicate, "lost")
			take(lost, duplicate, "next")
			take(of("more"), duplicate, "next")
			take(of("next"), opened, "")
		})
	}
}

func TestMemoryComparesAndSets(t *testing.T) {
	m := newMemory()
	r, err := m.Put(t.Context(), "k", []byte("v"), 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Put(t.Context(), "k", []byte("w"), r+1, time.Hour); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("over another revision: %v", err)
	}
	if e, err := m.Get(t.Context(), "k"); err != nil || string(e.Value) != "v" || e.Revision != r {
		t.Errorf("get: %v %v", e, err)
	}
}
