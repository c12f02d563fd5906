package history

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

// model is a list of all that was ever added, which is searched one by one. It
// says what a store has to answer.
type model struct {
	events []*pb.Event // by place
	times  []int64
}

func (m *model) search(q Query, first uint64) (ids []string, total int) {
	since := int64(math.MinInt64)
	if !q.Since.IsZero() {
		since = q.Since.UnixMilli()
	}
	for place := int(min(q.Before, uint64(len(m.events)))) - 1; place >= int(first); place-- {
		e := m.events[place]
		if m.times[place] < since || !q.Index.Covers(e.DataType) || !allFit(e, q.With) {
			continue
		}
		total++
		if len(ids) < q.Limit {
			ids = append(ids, e.Id)
		}
		if total >= max(q.Limit, q.Want) {
			break
		}
	}
	if total < q.Want && !q.Share {
		ids = nil
	}
	return ids, total
}

func allFit(e *pb.Event, with []Criterion) bool {
	for _, c := range with {
		var list []string
		switch v := fields.Get(e, c.Path).(type) {
		case nil:
		case []any:
			for _, item := range v {
				list = append(list, fields.Text(item))
			}
		default:
			list = append(list, fields.Text(v))
		}
		is := false
		for _, text := range list {
			if !c.Match {
				is = is || text == c.Text
				continue
			}
			for w := range words(text) {
				for want := range words(c.Text) {
					is = is || w == want
				}
			}
		}
		if is == c.Not {
			return false
		}
	}
	return true
}

var modelPaths = []string{"origin.ip", "log.message", "log.tags", "log.n", "dataType", "action", "target.port", "log.deep.x", "id"}

func drawEvent(t *rapid.T, n int, now time.Time) *pb.Event {
	pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	e := &pb.Event{
		Id: fmt.Sprint("e", n), DataType: pick("type", "x", "y", "z"), Action: pick("action", "", "allow", "deny"),
		Raw: "some text of an event that is long enough to be worth a block", Origin: &pb.Side{Ip: pick("ip", "", "1", "2", "3")},
		Target: &pb.Side{Port: uint32(rapid.IntRange(0, 2).Draw(t, "port"))},
	}
	e.Timestamp = now.Add(-time.Duration(rapid.IntRange(-2, 20).Draw(t, "age")) * time.Minute).Format(time.RFC3339Nano)
	if rapid.IntRange(0, 9).Draw(t, "clock") == 0 {
		e.Timestamp = pick("stamp", "", "yesterday", "1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z")
	}
	log, err := structpb.NewStruct(map[string]any{
		"message": pick("message", "", "Failed password", "failed LOGIN for root", "session_opened", "Größe ÄÖ", "a.b-c"),
		"tags":    []any{pick("tag", "a", "b"), pick("tag", "b", "c"), 7.0}, "n": float64(rapid.IntRange(0, 3).Draw(t, "n")),
		"deep": map[string]any{"x": pick("deep", "p", "q")},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Log = log.Fields
	return e
}

func drawQuery(t *rapid.T, m *model, now time.Time) Query {
	index, err := config.ParseIndexPattern(rapid.SampledFrom([]string{"v11-log-*", "v11-log-x-*", "v11-log-y-*,v11-log-z-*", "v11-log-none-*"}).Draw(t, "index"))
	if err != nil {
		t.Fatal(err)
	}
	q := Query{
		Index: index, Limit: rapid.SampledFrom([]int{0, 1, 3, 100}).Draw(t, "limit"), Want: rapid.SampledFrom([]int{0, 1, 2, 5, 50}).Draw(t, "want"),
		Before: uint64(rapid.IntRange(0, len(m.events)+2).Draw(t, "before")), Share: rapid.Bool().Draw(t, "share"),
	}
	if rapid.Bool().Draw(t, "latest") {
		q.Before = uint64(len(m.events))
	}
	if rapid.Bool().Draw(t, "window") {
		q.Since = now.Add(-time.Duration(rapid.IntRange(0, 25).Draw(t, "within")) * time.Minute)
	}
	for range rapid.IntRange(0, 3).Draw(t, "criteria") {
		q.With = append(q.With, Criterion{
			Path: rapid.SampledFrom(modelPaths).Draw(t, "path"), Match: rapid.Bool().Draw(t, "match"), Not: rapid.Bool().Draw(t, "not"),
			Text: rapid.SampledFrom([]string{"1", "2", "failed", "FAILED opened root", "größe", "a", "b", "7", "x", "y", "deny", "allow", "p", "", "--", "Failed password", "session_opened", "e3", "b c"}).Draw(t, "text"),
		})
	}
	return q
}

func drawPaths(t *rapid.T) (p Paths) {
	for _, path := range modelPaths {
		if rapid.Bool().Draw(t, "term") {
			p.Terms = append(p.Terms, path)
		}
		if rapid.Bool().Draw(t, "word") {
			p.Words = append(p.Words, path)
		}
	}
	return p
}

// check compares a search of a store with the model's.
func (m *model) check(t *rapid.T, s Store, q Query) {
	for {
		before := s.Stats()
		r, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if s.Stats().First != before.First {
			continue // the oldest went meanwhile
		}
		var ids []string
		if len(r.Places) != len(r.Events) {
			t.Fatalf("%d places of %d events", len(r.Places), len(r.Events))
		}
		for i, e := range r.Events {
			ids = append(ids, e.Id)
			if place := int(r.Places[i]); m.events[place].Id != e.Id {
				t.Fatalf("event %s is said to have place %d", e.Id, place)
			}
			if place := slices.IndexFunc(m.events, func(o *pb.Event) bool { return o.Id == e.Id }); !proto.Equal(m.events[place], e) {
				t.Fatalf("event %s came back as %v", e.Id, e)
			}
		}
		want, total := m.search(q, before.First)
		if total != r.Total || !slices.Equal(ids, want) {
			t.Fatalf("%+v\nfrom place %d of %d: got %d %v, want %d %v", q, before.First, len(m.events), r.Total, ids, total, want)
		}
		return
	}
}

// add adds an event, and sees to it that its place is right.
func (m *model) add(t *rapid.T, s Store, e *pb.Event, now time.Time) {
	place, err := s.Add(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	known := -1
	for i := len(m.events) - 1; i >= 0 && known < 0; i-- {
		if m.events[i].Id == e.Id {
			known = i
		}
	}
	switch {
	case int(place) == len(m.events):
		if known >= int(s.Stats().First) {
			t.Fatalf("event %s has place %d and was kept again", e.Id, known)
		}
		m.events, m.times = append(m.events, proto.CloneOf(e)), append(m.times, When(e, now))
	case int(place) != known:
		t.Fatalf("event %s got place %d of %d, had %d", e.Id, place, len(m.events), known)
	}
}

func TestMemoryIsAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, now := &model{}, time.Now()
		s := NewMemory(Limits{Events: rapid.IntRange(5, 200).Draw(t, "events"), Bytes: 1 << 20, Age: time.Hour})
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")) * time.Second)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			default:
				m.add(t, s, drawEvent(t, len(m.events), now), now)
			case 0:
				if len(m.events) > 0 {
					m.add(t, s, proto.CloneOf(rapid.SampledFrom(m.events).Draw(t, "old")), now)
				}
			case 1:
				if err := s.Watch(drawPaths(t)); err != nil {
					t.Fatal(err)
				}
			case 2, 3, 4:
				m.check(t, s, drawQuery(t, m, now))
			}
		}
	})
}

// The store on disk under everything that can come: repeats, other paths,
// restarts, segments that go, journals and indexes that were cut.
func TestDiskIsAsTheModel(t *testing.T) {
	root := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(root, fmt.Sprint(n))
		defer os.RemoveAll(dir)
		m, now := &model{}, time.Now()
		o := Options{MaxBytes: int64(rapid.SampledFrom([]int{1 << 30, 60_000, 25_000}).Draw(t, "bytes")), MaxAge: day, Sync: -1, SearchTime: time.Minute, events: rapid.SampledFrom([]int{4, 9, 16, 100}).Draw(t, "segment")}
		open := func() *Disk {
			d, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		d := open()
		defer func() { _ = d.Close() }()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")) * time.Second)
			switch rapid.IntRange(0, 19).Draw(t, "what") {
			default:
				m.add(t, d, drawEvent(t, len(m.events), now), now)
			case 0:
				if len(m.events) > 0 {
					m.add(t, d, proto.CloneOf(rapid.SampledFrom(m.events).Draw(t, "old")), now)
				}
			case 1:
				if err := d.Watch(drawPaths(t)); err != nil {
					t.Fatal(err)
				}
			case 2:
				settle(d)
			case 3, 4, 5, 6, 7:
				m.check(t, d, drawQuery(t, m, now))
			case 8, 9:
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				harm(t, dir)
				d = open()
				s := d.Stats()
				if int(s.Next) > len(m.events) {
					t.Fatalf("next is %d after %d events", s.Next, len(m.events))
				}
				// What was cut off is gone, and its places come again.
				m.events, m.times = m.events[:s.Next], m.times[:s.Next]
			}
		}
		settle(d)
		for range 5 {
			m.check(t, d, drawQuery(t, m, now))
		}
		if s := d.Stats(); s.Bytes > o.MaxBytes+o.MaxBytes/8 {
			t.Fatalf("%d bytes, at most %d are allowed", s.Bytes, o.MaxBytes)
		}
	})
}

// harm does to the files what the loss of power may do.
func harm(t *rapid.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	cut := func(file string) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		from := 0
		if filepath.Ext(file) == journalSuffix {
			from = 200 // its beginning is synced when it is made
		}
		if int(info.Size()) > from {
			if err := os.Truncate(file, int64(rapid.IntRange(from, int(info.Size())).Draw(t, "cut"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "harm") {
	case 0: // the newest journal was not written whole
		for _, f := range slices.Backward(files) {
			if filepath.Ext(f) == journalSuffix {
				cut(f)
				break
			}
		}
	case 1: // an index is lost
		for _, f := range files {
			if filepath.Ext(f) == indexSuffix {
				cut(f)
			}
		}
	case 2: // so is the key
		if err := os.Remove(filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
	case 3: // what was being written
		if err := os.WriteFile(filepath.Join(dir, "0000000000000001.events.tmp"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// settle waits until nothing is left to be written.
func settle(d *Disk) {
	for d.unsealed() > 1 || d.Stats().Unprepared > 0 {
		d.poke(d.wake)
		runtime.Gosched()
	}
}
