package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

// world is a work dir with an engine and a folder of logs.
type world struct {
	*testing.T
	*enginetest.Engine
	logs string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, Engine: enginetest.New(t, shortdir.New(t)), logs: t.TempDir()}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.logs, name) }

func (w *world) append(name, text string) {
	w.Helper()
	f, err := os.OpenFile(w.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		w.Fatal(err)
	}
	f.Close()
}

// run starts the plugin; stop ends it and returns what it returned.
func (w *world) run(settings string) (stop func() error, ended <-chan error) {
	w.Helper()
	i := plugins.Instance{
		Name: "files", Dir: w.Dir, Host: "here", Logger: hclog.NewNullLogger(),
		Config: gjson.Parse(settings), Stdin: strings.NewReader("one\ntwo\r\n\nthree"),
	}
	r, err := New(i)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	out := make(chan error, 1)
	go func() { out <- r.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-out
	}
	w.Cleanup(func() {
		if !stopped {
			cancel()
		}
	})
	return stop, out
}

func (w *world) want(lines ...string) {
	w.Helper()
	w.Wait(w.T, fmt.Sprint("stored ", lines), func() bool { return len(w.Raws()) >= len(lines) })
	if got := w.Raws(); !slices.Equal(got, lines) {
		w.Fatalf("stored %q, want %q", got, lines)
	}
}

func (w *world) settings(more string) string {
	return fmt.Sprintf(`{"paths":[%q],"poll":"10ms"%s}`, w.path("*.log"), more)
}

func TestFollow(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\ntwo\r\n\nthr")
	stop, _ := w.run(w.settings(`,"dataType":"app","dataSource":"src","tenant":"t1"`))
	w.want("one", "two")
	w.append("a.log", "ee\n\xffbad\n")
	w.want("one", "two", "three", "\uFFFDbad")
	w.append("b.log", "new file\n")
	w.want("one", "two", "three", "\uFFFDbad", "new file")
	l := w.Stored()[0]
	if l.DataType != "app" || l.DataSource != "src" || l.TenantId != "t1" || l.Timestamp == "" {
		t.Errorf("log: %v", l)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRestartWithoutLossOrRepeat(t *testing.T) {
	w := newWorld(t)
	var want []string
	for round := range 6 {
		for n := range 300 {
			line := fmt.Sprintf("round %d line %d", round, n)
			want = append(want, line)
			w.append("a.log", line+"\n")
		}
		if round%2 == 1 {
			w.BreakAfter(100)
		}
		stop, _ := w.run(w.settings(""))
		w.Wait(t, "some of the round", func() bool { return len(w.Raws()) > 300*round+50 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	stop, _ := w.run(w.settings(""))
	defer stop()
	w.want(want...)
	// What was read twice came with the same id: Stored holds each id once and
	// each line once.
	if n := len(w.Received()); n > len(want)+600 {
		t.Errorf("%d received for %d lines", n, len(want))
	}
}

// A plugin that is killed keeps the positions that were on disk; what it sends
// again has the same ids.
func TestKilledReadsAgainWithTheSameIDs(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\ntwo\nthree\n")
	stop, _ := w.run(w.settings(""))
	w.want("one", "two", "three")
	state := filepath.Join(w.Dir, "state", "files", "positions.json")
	before, err := os.ReadFile(state) // as of the opening, or a little later
	if err != nil {
		t.Fatal(err)
	}
	stop()
	before = []byte(strings.ReplaceAll(string(before), `"offset":14,"anchor":"`+hash([]byte("one\ntwo\nthree\n"))+`"`, `"offset":4,"anchor":"`+hash([]byte("one\n"))+`"`))
	if err := os.WriteFile(state, before, 0o600); err != nil {
		t.Fatal(err)
	}
	w.append("a.log", "four\n")
	stop, _ = w.run(w.settings(""))
	defer stop()
	w.want("one", "two", "three", "four")
	if len(w.Received()) <= 4 {
		t.Error("nothing was read again")
	}
}

func TestPositionMovesOnlyWithTheAck(t *testing.T) {
	w := newWorld(t)
	w.Hold(true)
	w.append("a.log", "one\ntwo\n")
	i := plugins.Instance{Name: "files", Dir: w.Dir, Logger: hclog.NewNullLogger(), Config: gjson.Parse(w.settings(""))}
	made, err := New(i)
	if err != nil {
		t.Fatal(err)
	}
	r := made.(*reader)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	w.Wait(t, "both lines sent", func() bool { return len(w.Received()) == 2 })
	for _, p := range r.state.all() {
		if p := r.state.get(p); p.Offset != 0 {
			t.Errorf("position is %d before an ack", p.Offset)
		}
	}
	w.Hold(false)
	w.Wait(t, "the position moves", func() bool { return r.state.get(r.state.all()[0]).Offset == 8 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRotationByRename(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\n")
	stop, _ := w.run(w.settings(""))
	w.want("one")
	if err := os.Rename(w.path("a.log"), w.path("a.log.1")); err != nil {
		t.Fatal(err)
	}
	w.append("a.log.1", "two\n") // its writer has it open still
	w.want("one", "two")
	w.append("a.log", "three\n")
	w.want("one", "two", "three")
	stop()

	// The same while the plugin is down.
	w.append("a.log", "four\n")
	if err := os.Rename(w.path("a.log"), w.path("a.log.2")); err != nil {
		t.Fatal(err)
	}
	w.append("a.log", "five\n")
	stop, _ = w.run(w.settings(""))
	defer stop()
	w.Wait(t, "all", func() bool { return len(w.Raws()) == 5 })
	got := w.Raws()
	slices.Sort(got)
	if want := []string{"five", "four", "one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
}

func TestTruncation(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\ntwo\n")
	stop, _ := w.run(w.settings(""))
	defer stop()
	w.want("one", "two")
	if err := os.Truncate(w.path("a.log"), 0); err != nil {
		t.Fatal(err)
	}
	w.append("a.log", "one\n") // the same text is another line
	w.want("one", "two", "one")
}

// A file that takes a deleted one's place on the disk is another file.
func TestInodeTakenByAnother(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "first file\n")
	stop, _ := w.run(w.settings(""))
	w.want("first file")
	stop()
	if err := os.WriteFile(w.path("a.log"), []byte("another file, longer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, _ = w.run(w.settings(""))
	defer stop()
	w.want("first file", "another file, longer")
}

func TestWithoutFollowEnds(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\nno end")
	_, ended := w.run(w.settings(`,"follow":false`))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.want("one", "no end")
}

func TestFromEnd(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "old\n")
	stop, _ := w.run(w.settings(`,"from":"end"`))
	defer stop()
	w.Wait(t, "the position", func() bool {
		return exists(filepath.Join(w.Dir, "state", "files", "positions.json"))
	})
	w.append("a.log", "new\n")
	w.append("b.log", "whole\n")
	w.Wait(t, "both", func() bool { return len(w.Raws()) == 2 })
	if got := w.Raws(); slices.Contains(got, "old") {
		t.Errorf("stored %q", got)
	}
}

func TestStandardInput(t *testing.T) {
	w := newWorld(t)
	_, ended := w.run(`{"paths":["-"]}`)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.want("one", "two", "three")
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                "paths: at least one",
		`{"paths":["a.log"]}`:               "must be absolute",
		`{"paths":["/a[.log"]}`:             "no valid glob",
		`{"paths":["-"],"from":"middle"}`:   "want beginning or end",
		`{"paths":["-"],"maxLine":5}`:       "maxLine: is 5",
		`{"paths":["-"],"poll":"1ms"}`:      "poll: is 1ms",
		`{"paths":["-"],"dataType":""}`:     "dataType: may not be empty",
		`{"paths":"-"}`:                     "plugins.files.paths: is a string, want a list",
		`{"paths":["-"],"colour":"purple"}`: `unknown setting "colour"`,
	} {
		_, err := New(plugins.Instance{Name: "files", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestBrokenPositions(t *testing.T) {
	w := newWorld(t)
	state := filepath.Join(w.Dir, "state", "files", "positions.json")
	if err := os.MkdirAll(filepath.Dir(state), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ended := w.run(w.settings(""))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("run: %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
