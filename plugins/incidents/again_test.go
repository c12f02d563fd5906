package incidents

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// replay is two processes, the first of which has an old copy of the group, and
// the messages of alerts.
type replay struct {
	*testing.T
	settings settings
	now      time.Time // stands still
	old, new *ledger
}

func newReplay(t *testing.T) *replay {
	r := &replay{T: t, settings: smallSettings(), now: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)}
	shared := newMemory()
	for _, l := range []**ledger{&r.old, &r.new} {
		*l = newLedger(&r.settings, shared, hclog.NewNullLogger())
		(*l).now = func() time.Time { return r.now }
		t.Cleanup((*l).close)
	}
	return r
}

// alert is one raised that many minutes after the start.
func (r *replay) alert(id string, minutes int) *facts {
	a := alert(id, "203.0.113.1")
	a.Name, a.Target = "rule "+id, &pb.Side{Host: "host " + id}
	a.Timestamp = r.now.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)
	return r.facts(a)
}

func (r *replay) facts(a *pb.Alert) *facts { return factsOf(a, &r.settings, r.now.Add(24*time.Hour)) }

func (r *replay) take(l *ledger, f *facts) string {
	r.Helper()
	o, err := l.take(r.Context(), f)
	if err != nil {
		r.Fatal(err)
	}
	return r.message(f, o)
}

func (r *replay) message(f *facts, o outcome) string {
	r.Helper()
	m, err := (&correlator{settings: r.settings}).message(f, o)
	if err != nil {
		r.Fatal(err)
	}
	return m.String()
}

// An alert comes again to a process whose copy of the group is older than the
// alert's record.
func TestAgainToAnOldCopy(t *testing.T) {
	for _, tc := range []struct {
		name string
		// minutes at which alerts are raised: of those that the old copy knows, those
		// between, as many more as make the group forget late, and the last.
		old, between []int
		more         int
		last         int
	}{
		{"its incident closed", []int{0, 30}, nil, 1, 90},
		{"its incident is open", []int{0, 30}, nil, mustForget, 31},
		{"its incident opened and closed", []int{-60, 0}, []int{30}, 1, 90},
		{"its incident opened", []int{-60, 0}, []int{30}, mustForget, 31},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplay(t)
			for _, at := range tc.old {
				r.take(r.old, r.alert(fmt.Sprint("old", at), at))
			}
			for _, at := range tc.between {
				r.take(r.new, r.alert(fmt.Sprint("between", at), at))
			}
			// Raised before one that has a record in the copy: it may have one too.
			late := r.alert("late", tc.old[0]-1)
			first := r.take(r.new, late)
			for n := range tc.more {
				r.take(r.new, r.alert(fmt.Sprint("more", n), 31))
			}
			r.take(r.new, r.alert("last", tc.last))
			if again := r.take(r.old, late); again != first {
				t.Errorf("first\n%s\nand again\n%s", first, again)
			}
		})
	}
}

// A duplicate comes again whose record is of its first's group, while its own
// group has records too.
func TestDuplicateAgainFromAnotherGroup(t *testing.T) {
	r := newReplay(t)
	equal := func(id, host string) *facts {
		a := r.alert(id, 0).alert
		a.Name, a.DeduplicateBy, a.GroupBy, a.Target.Host = "equal", []string{"adversary.ip"}, []string{"target.host"}, host
		return r.facts(a)
	}
	in := func(f *facts, at int) *facts {
		a := r.alert(fmt.Sprint(f.id, " ", at), at).alert
		a.GroupBy, a.Target.Host = f.alert.GroupBy, f.alert.Target.Host
		return r.facts(a)
	}
	one, other := equal("first", "one"), equal("duplicate", "other")
	r.take(r.new, one)
	first := r.take(r.new, other)
	for n := range mustForget {
		r.take(r.new, in(one, n))
	}
	r.take(r.new, in(other, 1))
	r.take(r.new, in(other, 60))
	if again := r.take(r.new, other); again != first {
		t.Errorf("first\n%s\nand again\n%s", first, again)
	}
}

// An alert comes again in the batch that closes its incident.
func TestAgainWhileItsIncidentCloses(t *testing.T) {
	r := newReplay(t)
	r.take(r.new, r.alert("parent", 0))
	child := r.alert("child", 1)
	first := r.take(r.new, child)
	g, err := r.new.read(t.Context(), child.group)
	if err != nil {
		t.Fatal(err)
	}
	next := &op{facts: r.alert("next", 60), ctx: t.Context(), done: make(chan struct{})}
	again := &op{facts: child, ctx: t.Context(), done: make(chan struct{})}
	if _, left, err := r.new.turn(t.Context(), child.group, g, []*op{next, again}); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	if next.out.entry.Kind != opened {
		t.Errorf("next: %+v", next.out.entry)
	}
	if m := r.message(child, again.out); m != first {
		t.Errorf("first\n%s\nand again\n%s", first, m)
	}
}
