package offline

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"github.com/epmesh/epmesh/node/workdir"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc/codes"
)

const calls = `
pipeline:
  - dataTypes: [d]
    steps:
      - dynamic: {plugin: p}
      - add: {function: string, params: {key: action, value: after}}
`

func log(raw string) *pb.Log { return &pb.Log{Id: "1", DataType: "d", Timestamp: "T", Raw: raw} }

func TestRunCompletes(t *testing.T) {
	r, _ := open(t, workDir(t, plain1), nil)
	e := event(t, r, &pb.Log{Raw: "x"})
	if e.Id == "" || e.DataType != "generic" || e.DataSource != "unknown" || e.TenantId != "00000000-0000-0000-0000-000000000000" || e.Raw != "x" {
		t.Errorf("completed to %v", e)
	}
	if _, err := time.Parse(time.RFC3339Nano, e.Timestamp); err != nil || e.DeviceTime != e.Timestamp {
		t.Errorf("timestamp %q, deviceTime %q", e.Timestamp, e.DeviceTime)
	}
	given := &pb.Log{Id: "i", DataType: "d", DataSource: "s", Timestamp: "not a time", TenantId: "t", Raw: "r"}
	if e := event(t, r, given); e.Id != "i" || e.DataType != "d" || e.DataSource != "s" || e.Timestamp != "not a time" || e.TenantId != "t" {
		t.Errorf("what was given became %v", e)
	}
	if _, err := r.Run(t.Context(), &pb.Log{Id: "1"}); !errors.Is(err, ErrRefused) {
		t.Errorf("an empty log: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	var o Options
	o.Settings.Dir = dir
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "--work-dir") {
		t.Errorf("no pipeline folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pipeline"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil {
		t.Error("a file for the pipeline folder")
	}
}

func TestProblems(t *testing.T) {
	r, _ := open(t, workDir(t, "pipeline:\n  - dataTypes: [d]\n    steps:\n      - kv: {fieldSplit: ' '}\n      - jsn: {}\n"), nil)
	text := r.Problems().String()
	if !strings.Contains(text, "jsn") {
		t.Errorf("problems: %s", text)
	}
}

func TestPluginAnswers(t *testing.T) {
	dir := workDir(t, calls)
	p := plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{Set: map[string]string{"log.by": "p"}})
	r, said := open(t, dir, nil)
	if e := event(t, r, log("x")); e.Log["by"].GetStringValue() != "p" || len(e.Errors) > 0 || e.Action != "after" {
		t.Errorf("event %v", e)
	}
	p.SetScript(plugintest.Script{Code: codes.NotFound, Message: "no such thing"})
	e := event(t, r, log("x"))
	if len(e.Errors) != 1 || !strings.Contains(e.Errors[0], "plugin p: no such thing (NotFound)") || e.Action != "after" {
		t.Errorf("the plugin's error: %v", e)
	}
	if len(said.all()) > 0 || len(r.Missed()) > 0 {
		t.Errorf("told %q, missed %v", said.all(), r.Missed())
	}
}

// A plugin that is not there is waited for once, told of once, and noted on each
// event.
func TestPluginAway(t *testing.T) {
	dir := workDir(t, calls)
	r, said := open(t, dir, func(o *Options) { o.Wait = 50 * time.Millisecond })
	start := time.Now()
	for range 20 {
		e := event(t, r, log("x"))
		if len(e.Errors) != 1 || !strings.HasSuffix(e.Errors[0], "plugin p: is not there") || e.Action != "after" {
			t.Fatalf("event %v", e)
		}
	}
	if took := time.Since(start); took < 50*time.Millisecond || took > 900*time.Millisecond {
		t.Errorf("20 logs took %v: waited for each, or for none", took)
	}
	if texts := said.all(); len(texts) != 1 || !strings.Contains(texts[0], "p is not there") || !strings.Contains(texts[0], "--plugins") {
		t.Errorf("told %q", texts)
	}
	if r.Missed()["p"] != 20 {
		t.Errorf("missed %v", r.Missed())
	}
	// It comes all the same.
	plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{})
	if err := r.doors["p"].client.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := event(t, r, log("x")); len(e.Errors) > 0 {
		t.Errorf("event %v", e)
	}
}

// A log that comes before its plugin waits for it.
func TestPluginComesLate(t *testing.T) {
	dir := workDir(t, calls)
	r, _ := open(t, dir, nil)
	events := make(chan *pb.Event)
	go func() { events <- event(t, r, log("x")) }()
	for {
		d := r.doors["p"]
		d.mu.Lock()
		waits := !d.away.IsZero()
		d.mu.Unlock()
		if waits {
			break
		}
		runtime.Gosched()
	}
	plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{Set: map[string]string{"log.by": "p"}})
	if e := <-events; e.Log["by"].GetStringValue() != "p" || len(e.Errors) > 0 {
		t.Errorf("event %v", e)
	}
}

func TestPluginTooSlow(t *testing.T) {
	dir := workDir(t, calls)
	plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{Hang: true})
	r, _ := open(t, dir, func(o *Options) { o.Settings.Plugins.CallTimeout = 50 * time.Millisecond })
	if _, err := r.Run(t.Context(), log("x")); plugin.Class(err) != plugin.Timeout {
		t.Errorf("no answer: %v", err)
	}
}

// script writes an executable that runs this test binary as a plugin.
func script(t *testing.T, file string, s plugin.Spec) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\nexport '" + strings.Join(s.Env, "' '") + "'\nexec '" + s.Argv[0] + "'\n"
	if err := os.WriteFile(file, []byte(text), 0o750); err != nil {
		t.Fatal(err)
	}
}

// Only parsing plugins that a pipeline calls are started; one that a log kills
// again and again does not take the others' events with it.
func TestStarts(t *testing.T) {
	dir := workDir(t, calls+"plugins: {q: {bundled: some}, other: {bundled: some}, input: {bundled: in}}\n"+
		"# also calls q\n")
	if err := os.WriteFile(filepath.Join(dir, "pipeline", "q.yaml"), []byte("pipeline: [{dataTypes: [q], steps: [{dynamic: {plugin: q}}, {dynamic: {plugin: input}}]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(dir, "plugins", "sub", "p.plugin"),
		plugintest.Spec(plugin.Parsing, "p", plugintest.Script{Set: map[string]string{"log.by": "p"}, Poison: "poison"}))
	script(t, filepath.Join(dir, "plugins", "unasked.plugin"), plugintest.Spec(plugin.Parsing, "unasked", plugintest.Script{}))
	script(t, filepath.Join(dir, "run-q"), plugintest.Spec(plugin.Parsing, "q", plugintest.Script{Set: map[string]string{"log.by": "q"}}))
	var asked []string
	s := func(o *Options) {
		o.Start = true
		o.Bundled = func(bundled, served string) []string {
			asked = append(asked, bundled+" as "+served)
			return []string{filepath.Join(dir, "run-q")}
		}
		o.BundledKind = func(name string) string { return map[string]string{"in": "input", "some": "parsing"}[name] }
		o.Settings.Plugins.RestartMin = 10 * time.Millisecond
	}
	o := Options{Tell: func(string) {}}
	r, _ := open(t, dir, s)
	if !slices.Equal(asked, []string{"some as q"}) {
		t.Errorf("bundled plugins: %q", asked)
	}
	if e := event(t, r, log("x")); e.Log["by"].GetStringValue() != "p" {
		t.Errorf("event %v", e)
	}
	if _, err := r.Run(t.Context(), log("poison")); plugin.Class(err) != plugin.Lost {
		t.Errorf("a log that kills: %v", err)
	}
	if e := event(t, r, log("y")); e.Log["by"].GetStringValue() != "p" || len(e.Errors) > 0 {
		t.Errorf("behind a log that kills: %v", e)
	}
	names, err := filepath.Glob(filepath.Join(dir, "sockets", "*"))
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "unasked") }) {
		t.Errorf("sockets %q, %v", names, err)
	}
	// The work dir is taken: by a node's lock.
	o.Settings = r.opts.Settings
	o.Start = true
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "leave --plugins out") {
		t.Errorf("two that start plugins: %v", err)
	}
	var pids []int
	for _, p := range r.processes.Snapshot() {
		pids = append(pids, p.PID)
	}
	r.stop()
	r.services.Wait()
	for _, pid := range pids {
		if pid > 0 && exec.Command("/bin/kill", "-0", strconv.Itoa(pid)).Run() == nil {
			t.Errorf("process %d is left", pid)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "sockets", "*.sock")); err != nil || len(names) > 0 {
		t.Errorf("sockets %q are left, %v", names, err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "sockets", "p_parsing.sock")})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	r.sweep()
	if names, err := filepath.Glob(filepath.Join(dir, "sockets", "*.sock")); err != nil || len(names) != 1 {
		t.Errorf("a socket that is served is gone, %v", err)
	}
	stale.Close()
	r.sweep()
	if names, err := filepath.Glob(filepath.Join(dir, "sockets", "*.sock")); err != nil || len(names) > 0 {
		t.Errorf("the socket of a killed plugin is left, %v", err)
	}
	r.release()
	release, err := workdir.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	r.release = release
}

func TestCures(t *testing.T) {
	dir := workDir(t, "plugins: {input: {bundled: in}}\npipeline: [{dataTypes: [d], steps: [{dynamic: {plugin: none}}, {dynamic: {plugin: input}}, {dynamic: {plugin: bad}}]}]")
	if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugins", "bad.plugin"), []byte("#!/bin/sh\necho missing key >&2\nexit 3\n"), 0o750); err != nil {
		t.Fatal(err)
	}
	r, said := open(t, dir, func(o *Options) {
		o.Start, o.Wait = true, 300*time.Millisecond
		o.BundledKind = func(string) string { return "input" }
	})
	if e := event(t, r, log("x")); len(e.Errors) != 3 {
		t.Errorf("event %v", e)
	}
	text := strings.Join(said.all(), "\n")
	for _, want := range []string{"no executable none.plugin below", "plugins.input.bundled is in, which parses nothing", "exit code 3: missing key"} {
		if !strings.Contains(text, want) {
			t.Errorf("told %q, want %q", text, want)
		}
	}
}
