package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// put stores events side by side.
func putAll(t testing.TB, a *archive, events ...*pb.Event) {
	t.Helper()
	var calls sync.WaitGroup
	for _, e := range events {
		calls.Go(func() {
			if err := a.event(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
}

func someEvents(n int, tenants ...string) []*pb.Event {
	var list []*pb.Event
	for i := range n {
		list = append(list, event(i, tenants[i%len(tenants)]))
	}
	return list
}

func TestFiles(t *testing.T) {
	for _, compression := range []string{zstdName, gzipName} {
		t.Run(compression, func(t *testing.T) {
			a := opened(t, values{"compression": compression, "manifest": true})
			dir := a.Settings.Dir
			putAll(t, a, someEvents(200, "t1", "", "../../etc")...)
			if err := a.alert(t.Context(), &pb.Alert{Id: "a1", Name: "N", TenantId: "t1", Timestamp: "2026-11-23T18:00:00Z"}); err != nil {
				t.Fatal(err)
			}
			day := time.Now().UTC().Format("2006/01/02")
			open := "t1/" + day + "/events-n1-000001.open" + a.w.codec.suffix()
			if got := files(t, dir); !slices.Contains(got, open) || len(got) != 4 {
				t.Fatalf("files: %q", got)
			}
			// While it is written, others can read it.
			cat := map[string]string{zstdName: "zstdcat", gzipName: "zcat"}[compression]
			if out, err := exec.Command(cat, filepath.Join(dir, open)).Output(); err == nil {
				if n := strings.Count(string(out), "\n"); n != 67 {
					t.Errorf("%s shows %d lines of the open file", cat, n)
				}
			} else if _, missing := exec.LookPath(cat); missing == nil {
				t.Errorf("%s: %v", cat, err)
			}
			shut(t, a)
			got := files(t, dir)
			want := []string{
				"%2E%2E%2F%2E%2E%2Fetc/" + day + "/events-n1-000001" + a2suffix(compression),
				"%none/" + day + "/events-n1-000001" + a2suffix(compression),
				"t1/" + alertDay() + "/alerts-n1-000001" + a2suffix(compression),
				"t1/" + day + "/events-n1-000001" + a2suffix(compression),
			}
			for _, name := range slices.Clone(want) {
				want = append(want, name+manifestSuffix)
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("files\n%q, want\n%q", got, want)
			}
			count := ids(t, dir)
			for i := range 200 {
				if count[fmt.Sprint("e", i)] != 1 {
					t.Errorf("event %d is there %d times", i, count[fmt.Sprint("e", i)])
				}
			}
			for _, name := range got {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode().Perm()&0o137 != 0 {
					t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
				}
				if manifested, ok := strings.CutSuffix(name, manifestSuffix); ok {
					checkManifest(t, dir, manifested)
				}
			}
		})
	}
}

func a2suffix(compression string) string {
	if compression == gzipName {
		return gzipSuffix
	}
	return zstdSuffix
}

// alertDay is the day of an alert of 23 November 2026, while that is near.
func alertDay() string { return defaults().day("2026-11-23T18:00:00Z", time.Now()) }

func checkManifest(t *testing.T, dir, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name+manifestSuffix))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if m.SHA256 != hex.EncodeToString(sum[:]) || m.Bytes != int64(len(content)) || int(m.Lines) != len(lines(t, filepath.Join(dir, name))) || m.File != filepath.Base(name) {
		t.Errorf("manifest %s is not that of %s", text, name)
	}
}

func TestWhatIsKept(t *testing.T) {
	a := opened(t, values{"tenants": []string{"t1"}, "dataTypes": []string{"linux"}, "recentIds": 10})
	other := event(1, "t1")
	other.DataType = "windows"
	putAll(t, a, event(1, "t2"), other)
	if got := files(t, a.Settings.Dir); len(got) != 0 {
		t.Errorf("kept what is not wanted: %q", got)
	}
	same := event(1, "t1")
	putAll(t, a, same, same, same)
	putAll(t, a, same, event(2, "t1"))
	if got := ids(t, a.Settings.Dir); got["e1"] != 1 || got["e2"] != 1 {
		t.Errorf("kept %v", got)
	}
	// A text that cannot be JSON never will.
	if err := a.event(t.Context(), &pb.Event{Id: "x", TenantId: "t1", DataType: "linux", Raw: "\xff"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no UTF-8: %v", err)
	}
	// Also after a restart.
	shut(t, a)
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	putAll(t, a, same)
	if got := ids(t, a.Settings.Dir); got["e1"] != 1 {
		t.Errorf("after a restart: %v", got)
	}
	// Without an id nothing is known again.
	nameless := event(3, "t1")
	nameless.Id = ""
	putAll(t, a, nameless, nameless)
	if got := ids(t, a.Settings.Dir); got[""] != 2 {
		t.Errorf("kept %v", got)
	}
}

func TestDay(t *testing.T) {
	now := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	s := defaults()
	for timestamp, want := range map[string]string{
		"2026-11-25T23:59:59.999Z":  "2026/11/25",
		"2026-11-26T00:30:00+02:00": "2026/11/25",
		"2026-10-27T00:00:00Z":      "2026/10/27",
		"2026-10-20T00:00:00Z":      "2026/11/26", // too old
		"2026-11-27T00:59:00Z":      "2026/11/27",
		"2026-11-27T01:01:00Z":      "2026/11/26", // too far ahead
		"0001-01-01T00:00:00Z":      "2026/11/26",
		"9999-12-31T23:59:59Z":      "2026/11/26",
		"":                          "2026/11/26",
		"yesterday":                 "2026/11/26",
	} {
		if got := s.day(timestamp, now); got != want {
			t.Errorf("%s: %s, want %s", timestamp, got, want)
		}
	}
	s.Day = byArrival
	if got := s.day("2026-11-25T00:00:00Z", now); got != "2026/11/26" {
		t.Errorf("by arrival: %s", got)
	}
}

func TestRotation(t *testing.T) {
	a := opened(t, values{"maxBytes": 4096})
	dir := a.Settings.Dir
	for i := range 20 {
		putAll(t, a, someEvents(100, fmt.Sprint("t", i%2))...) // the ids are known again, but for the tenant
		var all []*pb.Event
		for _, e := range someEvents(400, "t") {
			e.Id = fmt.Sprint(i, "-", e.Id)
			all = append(all, e)
		}
		putAll(t, a, all...)
	}
	got := files(t, dir)
	if len(got) < 6 {
		t.Errorf("files: %q", got)
	}
	for _, name := range got {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > 4096+20_000 {
			t.Errorf("%s: %v %v", name, info.Size(), err)
		}
	}
	// An age ends the others.
	b := opened(t, values{"maxAge": "1s"})
	putAll(t, b, event(1, "t1"))
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for strings.Contains(files(t, b.Settings.Dir)[0], openMark) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit.Done():
			t.Fatal("the file is not ended")
		}
	}
	putAll(t, b, event(2, "t1"))
	if got := files(t, b.Settings.Dir); len(got) != 2 || !strings.Contains(got[1], "events-n1-000002.open") {
		t.Errorf("files: %q", got)
	}
}

// Many tenants do not need many open files.
func TestManyTenants(t *testing.T) {
	a := opened(t, values{"maxOpen": 3})
	var all []*pb.Event
	for i := range 400 {
		all = append(all, event(i, fmt.Sprint("tenant-", i%40)))
	}
	putAll(t, a, all...)
	for _, e := range all[:50] {
		e.Id += "-again"
		putAll(t, a, e)
		if fds := openFiles(t, a.Settings.Dir); fds > 3 {
			t.Fatalf("%d files are open", fds)
		}
	}
	if got := files(t, a.Settings.Dir); len(got) != 40 {
		t.Errorf("%d files", len(got))
	}
	shut(t, a)
	if got := ids(t, a.Settings.Dir); len(got) != 450 {
		t.Errorf("%d events", len(got))
	}
}

// openFiles asks the system how many files below dir this process has open.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) && strings.Contains(to, ".ndjson") {
			n++
		}
	}
	return n
}

func TestServed(t *testing.T) {
	a := build(t, values{"alerts": false})
	a.Instance.Dir = shortdir.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	client := pb.NewOutputClient(enginetest.Dial(t, a.Instance.Dir, "archive_output.sock"))
	if _, err := client.EventOutput(t.Context(), event(1, "t1")); err != nil {
		t.Error(err)
	}
	if _, err := client.AlertOutput(t.Context(), &pb.Alert{Id: "1"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("alerts are not wanted: %v", err)
	}
	// Another into the same folder would take the files of this one for left ones.
	b := build(t, values{"dir": a.Settings.Dir})
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another archive of this node") {
		t.Errorf("a second one: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := ids(t, a.Settings.Dir); got["e1"] != 1 {
		t.Errorf("kept %v", got)
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"dir":"../x"}`:                  "dir: is ",
		`{"dir":""}`:                      "dir: is ",
		`{"events":false,"alerts":false}`: "events and alerts",
		`{"compression":"lz4"}`:           "compression: is ",
		`{"day":"week"}`:                  "day: is ",
		`{"maxAge":"1ms"}`:                "maxAge: is 1ms",
		`{"maxBytes":1}`:                  "maxBytes: is 1",
		`{"maxOpen":0}`:                   "maxOpen: is 0",
		`{"keepFor":"1m"}`:                "keepFor: is 1m",
		`{"keepBytes":5}`:                 "keepBytes: is 5",
		`{"recentIds":-1}`:                "recentIds: is -1",
		`{"maxPast":"-1h"}`:               "maxPast: is -1h",
		`{"tenant":"x"}`:                  `unknown setting "tenant"`,
	} {
		_, err := New(plugins.Instance{Name: "n", Dir: "/w", Host: "h", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestRetention(t *testing.T) {
	a := opened(t, values{})
	// Beside the one that is open, which looks by itself whenever it likes.
	w := &writer{Settings: a.w.Settings, node: a.w.node, log: a.w.log, root: a.w.root}
	w.KeepFor, w.KeepBytes = plugins.Duration(48*time.Hour), 128<<20
	now := time.Now()
	file := func(name string, size int, age time.Duration) {
		path := filepath.Join(a.Settings.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	days := func(n int) string { return now.UTC().AddDate(0, 0, -n).Format("2006/01/02") }
	old, mine, fresh := days(9), days(1), days(0)
	file("t1/"+old+"/events-n1-000001.ndjson.zst", 10, 9*24*time.Hour)
	file("t1/"+old+"/events-n1-000001.ndjson.zst.json", 10, 9*24*time.Hour)
	file("t1/"+old+"/events-n2-000001.ndjson.zst", 10, 9*24*time.Hour)      // another node's
	file("t2/"+old+"/events-n1-000001.ndjson.zst", 10, time.Hour)           // written late
	file("t3/"+old+"/events-n1-000001.open.ndjson.zst", 10, 9*24*time.Hour) // not ended
	file("t4/"+old+"/notes.txt", 10, 9*24*time.Hour)
	file("t5/"+old+"/alerts-n1-000001.ndjson.gz", 10, 9*24*time.Hour)
	file("t1/"+mine+"/events-n1-000001.ndjson.zst", 100<<20, 25*time.Hour)
	file("t1/"+fresh+"/events-n1-000001.ndjson.zst", 100<<20, time.Hour)
	if err := w.prune(now); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"t1/" + fresh + "/events-n1-000001.ndjson.zst", "t1/" + old + "/events-n2-000001.ndjson.zst",
		"t3/" + old + "/events-n1-000001.open.ndjson.zst", "t4/" + old + "/notes.txt",
	}
	slices.Sort(want)
	if got := files(t, a.Settings.Dir); !slices.Equal(got, want) {
		t.Errorf("left\n%q, want\n%q", got, want)
	}
	if _, err := os.Stat(filepath.Join(a.Settings.Dir, "t5")); err == nil {
		t.Error("an empty folder is left")
	}
}
