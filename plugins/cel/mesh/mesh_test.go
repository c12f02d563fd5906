package mesh

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// node is one History with what reaches it. Slow holds its answers back.
type node struct {
	*History
	slow time.Duration
	room int
}

// group are nodes that reach each other.
type group map[string]*node

type side struct {
	group
	self string
}

func (s side) List() ([]string, bool) {
	var names []string
	for name := range s.group {
		if name != s.self {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, true
}

func (s side) Ask(ctx context.Context, name string, request []byte) ([]byte, error) {
	n := s.group[name]
	if n.slow > 0 {
		select {
		case <-time.After(n.slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return n.Answer(ctx, request, n.room), nil
}

func nodes(names ...string) group {
	g := group{}
	for _, name := range names {
		s := history.NewMemory(history.Limits{Events: 10_000, Bytes: 64 << 20, Age: time.Hour})
		g[name] = &node{History: New(Options{Self: name, Local: s, Transport: side{g, name}, Wait: 500 * time.Millisecond, Bytes: 1 << 20})}
	}
	return g
}

// add keeps an event and gives its place and stamp.
func (n *node) add(t testing.TB, e *pb.Event) (place, stamp uint64) {
	t.Helper()
	place, err := n.local.Add(t.Context(), e, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return place, n.Stamp(place)
}

func everything(t testing.TB, place uint64, limit, want int) history.Query {
	t.Helper()
	index, err := config.ParseIndexPattern("v11-log-*")
	if err != nil {
		t.Fatal(err)
	}
	return history.Query{Index: index, Before: place, Limit: limit, Want: want}
}

// search asks for all events before one.
func (n *node) search(t testing.TB, e *pb.Event, place, stamp uint64, limit, want int) (history.Result, []string) {
	t.Helper()
	r := n.Ask(t.Context(), e.Id, stamp, []history.Query{everything(t, place, limit, want)})
	defer r.Done()
	found, err := r.Search(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return found, r.Missing()
}

func ev(id string) *pb.Event { return &pb.Event{Id: id, DataType: "x", Raw: strings.Repeat("r", 500)} }

// One that answers too late is missing and costs no more than the wait; afterwards
// it costs nothing, but for one question now and then, until it answers in time.
func TestSlowNodeHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := nodes("a", "b", "c")
		g["b"].add(t, ev("1"))
		g["c"].add(t, ev("2"))
		g["b"].slow = time.Hour
		look := func(id string) (int, []string, time.Duration) {
			<-time.After(time.Nanosecond) // else all have the same stamp
			e := ev(id)
			place, stamp := g["a"].add(t, e)
			began := time.Now()
			found, missing := g["a"].search(t, e, place, stamp, 10, 1)
			return len(found.Events), missing, time.Since(began)
		}
		n, missing, took := look("x")
		if n != 1 || took != 500*time.Millisecond || len(missing) != 1 || missing[0] != "history of node b is missing: it did not answer within 500ms" {
			t.Errorf("the first: %d events, %q, after %s", n, missing, took)
		}
		waits := 0
		for i := range 1000 {
			n, missing, took := look(fmt.Sprint(i))
			if n < 2 || len(missing) != 1 {
				t.Fatalf("%d events, %q", n, missing)
			}
			if took > 0 {
				waits++
			}
			<-time.After(50 * time.Millisecond) // of the bubble
		}
		// 50 s and more, with pauses that double from a quarter of a second to 15.
		if waits < 4 || waits > 10 {
			t.Errorf("%d of 1000 searches waited", waits)
		}
		g["b"].slow = 100 * time.Millisecond
		<-time.After(maxPause)
		if _, missing, took := look("y"); len(missing) != 0 || took != 100*time.Millisecond {
			t.Errorf("it answers again: %q, after %s", missing, took)
		}
	})
}

// A node whose clock is behind finds what was kept before, once the clocks have
// met; one that is absurdly ahead is not followed.
func TestClocksMeet(t *testing.T) {
	g := nodes("a", "b")
	behind := func() time.Time { return time.Now().Add(-time.Hour) }
	g["a"].order.wall = behind
	g["a"].Meet(t.Context())
	g["b"].add(t, ev("1"))
	e := ev("2")
	place, stamp := g["a"].add(t, e)
	found, missing := g["a"].search(t, e, place, stamp, 10, 1)
	if len(found.Events) != 1 || len(missing) > 0 {
		// A stamp is as far behind as the way of the message takes; what was kept
		// within that is found by the next.
		e = ev("3")
		place, stamp = g["a"].add(t, e)
		if found, missing = g["a"].search(t, e, place, stamp, 10, 1); len(found.Events) != 2 || len(missing) > 0 {
			t.Errorf("%v, missing %q", found, missing)
		}
	}
	g["b"].order.wall = func() time.Time { return time.Now().Add(50 * 365 * 24 * time.Hour) }
	g["b"].add(t, ev("4"))
	e = ev("5")
	place, stamp = g["a"].add(t, e)
	if _, missing := g["a"].search(t, e, place, stamp, 10, 1); len(missing) != 1 || !strings.Contains(missing[0], "ten years") {
		t.Errorf("missing %q", missing)
	}
}

// Counts above what is counted by ids are added, and answers stay within a message.
func TestAnswersAreBounded(t *testing.T) {
	g := nodes("a", "b")
	for i := range 400 {
		g["b"].add(t, ev(fmt.Sprint("b", i)))
		g["a"].add(t, ev(fmt.Sprint("a", i)))
	}
	e := ev("x")
	place, stamp := g["a"].add(t, e)
	for _, tt := range []struct{ limit, want, total, events int }{
		{10, 5, 10, 10}, {100, 200, 200, 100}, {10, 300, 300, 10}, {10, 790, 790, 10}, {10, 801, 800, 0},
	} {
		found, missing := g["a"].search(t, e, place, stamp, tt.limit, tt.want)
		if found.Total != tt.total || len(found.Events) != tt.events || len(missing) > 0 {
			t.Errorf("limit %d, want %d: %d, %d events, missing %q", tt.limit, tt.want, found.Total, len(found.Events), missing)
		}
	}
	request := &pb.HistoryRequest{Version: 1, Node: "a", Stamp: stamp, Wait: 1000, Bytes: 1 << 20}
	for range 20 {
		request.Searches = append(request.Searches, searchOf(everything(t, place, 20, 1)))
	}
	data, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	answer := g["b"].Answer(t.Context(), data, 45_000)
	a, err := readAnswer(answer, 20)
	if err != nil || len(answer) > 45_000 || len(a.Found[0].Events[0].Body) < 500 || len(a.Found[19].Events[19].Body) != 0 {
		t.Errorf("%d bytes, %v", len(answer), err)
	}
	if _, err := readAnswer(g["b"].Answer(t.Context(), data, 1000), 20); err == nil || !strings.Contains(err.Error(), "larger than a message") {
		t.Errorf("no room: %v", err)
	}
}

// Stamps are forgotten, the oldest first, and never fall.
func TestStampsAreBounded(t *testing.T) {
	o := newOrder(7, time.Now)
	last := uint64(0)
	for place := range uint64(5 * maxStamped) {
		s := o.of(place + 7)
		if s <= last || o.at(place+7) != s || o.of(place+7) != s {
			t.Fatalf("place %d: stamp %d after %d", place, s, last)
		}
		last = s
	}
	if len(o.stamp) > 2*maxStamped || o.at(7) != 0 || o.before(1, true) != o.first {
		t.Errorf("%d stamps, the first of %d", len(o.stamp), o.first)
	}
	if s := o.of(7); s <= last {
		t.Errorf("an old place has the stamp %d", s)
	}
}

func FuzzAnswer(f *testing.F) {
	g := nodes("a", "b")
	e := ev("1")
	g["b"].add(f, e)
	request := &pb.HistoryRequest{Version: 1, Node: "a", Stamp: g["a"].order.clock(), Event: "2", Wait: 100, Bytes: 1000}
	q := everything(f, 9, 3, 2)
	q.With = []history.Criterion{{Path: "raw", Match: true, Text: "r"}}
	request.Searches = []*pb.HistorySearch{searchOf(q)}
	data, err := proto.Marshal(request)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(g["b"].Answer(f.Context(), data, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer := g["b"].Answer(t.Context(), data, 1<<16)
		if len(answer) == 0 || len(answer) > 1<<16 {
			t.Fatalf("an answer of %d bytes", len(answer))
		}
		r := new(pb.HistoryRequest)
		searches := 1
		if proto.Unmarshal(data, r) == nil {
			searches = len(r.Searches)
		}
		if _, err := readAnswer(answer, searches); err != nil && !strings.Contains(err.Error(), " ") {
			t.Fatalf("an answer that says nothing: %v", err)
		}
		// The same bytes as an answer of another.
		if a, err := readAnswer(data, 1); err == nil {
			merge([][]one{theirs(a.Found[0])}, 10)
		}
	})
}

// alone is a transport without others.
type alone struct{ Transport }

func (alone) List() ([]string, bool) { return nil, true }

// What an event costs besides where there is nobody to ask.
func BenchmarkAlone(b *testing.B) {
	h := New(Options{Local: history.NewMemory(history.Limits{Events: 1, Bytes: 1 << 20, Age: time.Hour}), Transport: alone{}})
	place := uint64(0)
	for b.Loop() {
		if h.Stamp(place) == 0 || !h.Alone() {
			b.Fatal("not alone")
		}
		place++
	}
}
