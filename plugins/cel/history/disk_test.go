package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/logbuffer"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/sys/unix"
)

func testOptions() Options {
	return Options{MaxBytes: 1 << 30, MaxAge: day, Sync: -1, SearchTime: time.Minute, events: 100}
}

func openTest(t testing.TB, dir string, o Options) *Disk {
	t.Helper()
	d, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func numbered(n int) *pb.Event {
	return &pb.Event{Id: fmt.Sprint("id", n), DataType: "x", Action: "add", Raw: fmt.Sprint("number ", n), Origin: &pb.Side{Ip: fmt.Sprint(n % 10)}}
}

func addMany(t testing.TB, s Store, from, to int, now time.Time) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := s.Add(t.Context(), numbered(n), now); err != nil {
			t.Fatal(err)
		}
	}
}

func every(t testing.TB) config.IndexPattern {
	t.Helper()
	x, err := config.ParseIndexPattern("v11-log-*")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func count(t testing.TB, s Store, with ...Criterion) int {
	t.Helper()
	r, err := s.Search(t.Context(), Query{Index: every(t), Before: 1 << 62, Limit: 10, Want: 1_000_000, With: with})
	if err != nil {
		t.Fatal(err)
	}
	return r.Total
}

func TestOneProcessAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	d := openTest(t, dir, testOptions())
	if _, err := Open(dir, testOptions()); err == nil || !strings.Contains(err.Error(), "another process uses "+dir) {
		t.Errorf("a second: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openTest(t, dir, testOptions())
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, testOptions())
	addMany(t, d, 0, 350, time.Now())
	settle(d)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		kinds[filepath.Ext(e.Name())]++
	}
	if kinds[eventsSuffix] != 3 || kinds[indexSuffix] != 3 || kinds[journalSuffix] != 1 {
		t.Errorf("files: %v", kinds)
	}
}

func TestAgeAndBytes(t *testing.T) {
	o := testOptions()
	o.MaxAge = time.Hour
	d := openTest(t, t.TempDir(), o)
	now := time.Now()
	addMany(t, d, 0, 300, now.Add(-30*time.Minute))
	addMany(t, d, 300, 600, now)
	settle(d)
	if s := d.Stats(); s.First != 0 || s.Events != 600 {
		t.Errorf("before: %+v", s)
	}
	addMany(t, d, 600, 601, now.Add(31*time.Minute))
	if s := d.Stats(); s.First != 300 {
		t.Errorf("the first half is older than an hour: %+v", s)
	}
	// An event that went may come again.
	if place, err := d.Add(t.Context(), numbered(5), now); err != nil || place != 601 {
		t.Errorf("again: %d, %v", place, err)
	}

	o = testOptions()
	o.MaxBytes = 200_000
	d = openTest(t, t.TempDir(), o)
	for n := 0; n < 20_000; n += 500 {
		addMany(t, d, n, n+500, now)
		if s := d.Stats(); s.Bytes > o.MaxBytes {
			t.Fatalf("%d bytes after %d events", s.Bytes, n)
		}
	}
	if s := d.Stats(); s.Next != 20_000 || s.First == 0 || s.Bytes < o.MaxBytes/2 {
		t.Errorf("at the end: %+v", s)
	}
}

func TestDamageIsPutAside(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, testOptions())
	if err := d.Watch(Paths{Terms: []string{"origin.ip"}}); err != nil {
		t.Fatal(err)
	}
	addMany(t, d, 0, 450, time.Now())
	settle(d)
	files := func(suffix string) []string {
		list, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	flip := func(path string, back int) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-back] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := files(eventsSuffix)
	flip(list[0], 100)                 // the tail: the file cannot be used
	flip(files(indexSuffix)[1], 300)   // an index: is made anew
	flip(files(journalSuffix)[0], 500) // a record: is cut off, with what follows
	var log logbuffer.Buffer
	o := testOptions()
	o.Logger = log.Logger()
	d = openTest(t, dir, o)
	for _, want := range []string{"is damaged and put aside", list[0] + ".damaged", "index is made anew", "journal is cut", "bytes lost"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	s := d.Stats()
	if s.First != 100 || s.Next <= 400 || s.Next >= 450 {
		t.Errorf("%+v", s)
	}
	if n := count(t, d, Criterion{Path: "origin.ip", Text: "3"}); n < 30 || n > 35 {
		t.Errorf("%d events found", n)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	// A block that was damaged is found by the search that needs it. The segment
	// is put aside, and the search answers from what is left, as does every other.
	flip(list[2], int(size0(t, list[2]))-20)
	o.Logger = log.Logger()
	d = openTest(t, dir, o)
	before := d.Stats()
	r, err := d.Search(t.Context(), Query{Index: every(t), Before: 401, Limit: 200})
	if err != nil || len(r.Events) != 200 {
		t.Errorf("a damaged block: %d events, %v", len(r.Events), err)
	}
	for _, e := range r.Events {
		if n := numberOf(t, e); n >= 200 && n < 300 {
			t.Errorf("event %d is of the damaged segment", n)
		}
	}
	if !strings.Contains(log.String(), list[2]+".damaged") {
		t.Errorf("the log does not name %s:\n%s", list[2], log.String())
	}
	after := d.Stats()
	if after.Events != before.Events-100 || after.First != 100 || after.Next != before.Next {
		t.Errorf("from %+v to %+v", before, after)
	}
	if n := count(t, d, Criterion{Path: "dataType", Text: "x"}); n != after.Events {
		t.Errorf("%d of %d events found", n, after.Events)
	}
	// Its events may come again.
	if place, err := d.Add(t.Context(), numbered(250), time.Now()); err != nil || place != after.Next {
		t.Errorf("again: %d, %v", place, err)
	}

	// One that is found when new paths are indexed does not hold up the others.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	flip(list[3], int(size0(t, list[3]))-20)
	d = openTest(t, dir, o)
	if err := d.Watch(Paths{Terms: []string{"origin.ip", "action"}}); err != nil {
		t.Fatal(err)
	}
	for d.Stats().Unprepared > 0 {
		runtime.Gosched()
	}
	if s := d.Stats(); s.Events != after.Events+1-100 {
		t.Errorf("%+v", s)
	}
}

func numberOf(t *testing.T, e *pb.Event) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(e.Id, "id"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func size0(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestSearchIsBounded(t *testing.T) {
	o := testOptions()
	o.SearchTime = 0
	d := openTest(t, t.TempDir(), o)
	addMany(t, d, 0, 250, time.Now())
	r, err := d.Search(t.Context(), Query{Index: every(t), Before: 1 << 62, Limit: 1, Want: 1, With: []Criterion{{Path: "raw", Match: true, Text: "never"}}})
	if !errors.Is(err, ErrTooLong) || r.Total != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Search(ctx, Query{Index: every(t), Before: 1 << 62, Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if _, err := d.Add(ctx, numbered(1), time.Now()); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestClosed(t *testing.T) {
	d := openTest(t, t.TempDir(), testOptions())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := d.Add(t.Context(), numbered(1), time.Now())
	_, serr := d.Search(t.Context(), Query{Index: every(t)})
	for _, err := range []error{err, serr, d.Watch(Paths{}), d.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Of events that come at once, each has a place of its own, and sees all that
// have a smaller one.
func TestConcurrentAdds(t *testing.T) {
	for name, s := range map[string]Store{
		"memory": NewMemory(Limits{Events: 100_000, Bytes: 1 << 30, Age: day}),
		"disk":   openTest(t, t.TempDir(), testOptions()),
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Watch(Paths{Terms: []string{"action"}}); err != nil {
				t.Fatal(err)
			}
			const callers, each = 32, 40
			var group sync.WaitGroup
			for g := range callers {
				group.Go(func() {
					for i := range each {
						n := g/2*each + i // every event comes twice at the same time
						place, err := s.Add(t.Context(), numbered(n), time.Now())
						if err != nil {
							t.Error(err)
							return
						}
						r, err := s.Search(t.Context(), Query{Index: every(t), Before: place, Limit: 1, Want: 1_000_000, With: []Criterion{{Path: "action", Text: "add"}}})
						if err != nil || r.Total != int(place) {
							t.Errorf("event %d at %d sees %d before it: %v", n, place, r.Total, err)
							return
						}
					}
				})
			}
			group.Wait()
			if st := s.Stats(); st.Events != callers/2*each || st.Next != uint64(st.Events) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A full disk is an error, harms nothing, and is over when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=300k"); err != nil {
		t.Skipf("no file system of its own (%v): run as root to see a full disk", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openTest(t, filepath.Join(dir, "h"), testOptions())
	n, refused := 0, error(nil)
	for ; refused == nil && n < 100_000; n++ {
		_, refused = d.Add(t.Context(), numbered(n), time.Now())
	}
	if !errors.Is(refused, unix.ENOSPC) && !errors.Is(refused, errBusy) {
		t.Fatalf("after %d events: %v", n, refused)
	}
	kept := n - 1
	if got := count(t, d); got != kept {
		t.Errorf("%d events are found, %d were kept", got, kept)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for refused != nil && time.Now().Before(deadline) {
		_, refused = d.Add(t.Context(), numbered(kept), time.Now())
	}
	if refused != nil {
		t.Fatalf("with room again: %v", refused)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openTest(t, filepath.Join(dir, "h"), testOptions())
	if got := count(t, d); got != kept+1 {
		t.Errorf("opened again: %d events of %d", got, kept+1)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
