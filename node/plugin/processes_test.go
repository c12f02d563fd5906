package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

func newProcesses(t testing.TB, dir string, change func(*plugin.ProcessOptions)) (ps *plugin.Processes, text *logbuffer.Buffer, stop func()) {
	log, text := logger(t)
	o := plugin.ProcessOptions{
		WorkDir: dir, Logger: log, Guard: guardArgv(), Node: "n1",
		RestartMin: time.Millisecond, RestartMax: 10 * time.Millisecond,
		Rescan: 20 * time.Millisecond, PassEnv: []string{"GORACE"},
	}
	if change != nil {
		change(&o)
	}
	ps = plugin.NewProcesses(o)
	return ps, text, serve(t, ps.Serve)
}

func apply(t testing.TB, ps *plugin.Processes, specs ...plugin.Spec) {
	t.Helper()
	if err := ps.Apply(specs); err != nil {
		t.Fatal(err)
	}
}

func process(ps *plugin.Processes, name string) plugin.ProcessStatus {
	for _, s := range ps.Snapshot() {
		if s.Name == name {
			return s
		}
	}
	return plugin.ProcessStatus{}
}

func untilState(t testing.TB, ps *plugin.Processes, name string, want plugin.ProcessState) plugin.ProcessStatus {
	t.Helper()
	until(t, ps, name+" is "+string(want), func() bool { return process(ps, name).State == want })
	return process(ps, name)
}

// A plugin is started, served, killed, started again, replaced, and stopped.
func TestProcessLife(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, _, stop := newProcesses(t, work, nil)
	r := newRegistry(t, filepath.Join(work, "sockets"), nil)
	c := r.Client(plugin.Correlation, "corr")
	spec := plugintest.Spec(plugin.Correlation, "corr", plugintest.Script{})
	apply(t, ps, spec)
	waitLive(t, c)
	first := untilState(t, ps, "corr", plugin.Running)

	gone := c.Gone()
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitClosed(t, "gone", gone)
	waitLive(t, c)
	second := process(ps, "corr")
	if second.PID == first.PID || second.Restarts != 1 || !strings.Contains(second.LastExit, "signal 9") {
		t.Errorf("after a kill: %+v", second)
	}
	// The same spec again changes nothing.
	apply(t, ps, spec)
	gone = c.Gone()
	changed := plugintest.Spec(plugin.Correlation, "corr", plugintest.Script{Message: "changed"})
	apply(t, ps, changed, role("print"))
	waitClosed(t, "gone", gone)
	waitLive(t, c)
	if p := process(ps, "corr"); p.PID == second.PID || p.Restarts != 0 {
		t.Errorf("after a change: %+v", p)
	}
	untilState(t, ps, "print", plugin.Running)
	apply(t, ps, role("print"))
	until(t, ps, "corr is gone", func() bool { return len(ps.Snapshot()) == 1 })
	stop()
	if all := ps.Snapshot(); len(all) != 0 {
		t.Errorf("after Serve: %+v", all)
	}
	if running(itoa(second.PID)) {
		t.Error("a process is left")
	}
}

// Each end has its consequence, and a crash loop does not slow its neighbours.
func TestEnds(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, text, _ := newProcesses(t, work, nil)
	once := role("exit", "0")
	once.Name, once.Once = "once", true
	other := role("exit", "0")
	other.Name = "other"
	// Not this binary: with -cover it would have a last word of its own.
	crash := plugin.Spec{Name: "crash", Argv: []string{"/bin/sh", "-c", "echo panic: no such thing >&2; exit 3"}}
	missing := plugin.Spec{Name: "missing", Argv: []string{"/does/not/exist"}}
	apply(t, ps, once, other, crash, missing, role("print"))
	untilState(t, ps, "once", plugin.Done)
	untilState(t, ps, "other", plugin.Idle)
	untilState(t, ps, "print", plugin.Running)
	s := untilState(t, ps, "crash", plugin.CrashLooping)
	if s.LastExit != "exit code 3" || s.LastLine != "panic: no such thing" || s.Restarts < 2 {
		t.Errorf("crash loop: %+v", s)
	}
	s = untilState(t, ps, "missing", plugin.CrashLooping)
	if !strings.Contains(s.LastExit, "no such file") {
		t.Errorf("missing: %+v", s)
	}
	if n := process(ps, "print").Restarts + process(ps, "other").Restarts + process(ps, "once").Restarts; n != 0 {
		t.Errorf("%d restarts of others", n)
	}
	if !strings.Contains(text.String(), "plugin keeps ending") {
		t.Error("the log does not say that it crashes")
	}
}

// Code 0 later than "at once" is an end that was not wanted.
func TestExitZeroLater(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, _, _ := newProcesses(t, work, func(o *plugin.ProcessOptions) { o.IdleWithin = time.Nanosecond })
	apply(t, ps, role("exit", "0"))
	until(t, ps, "a restart", func() bool { return process(ps, "exit").Restarts > 0 })
}

func TestApplyRefuses(t *testing.T) {
	ps := plugin.NewProcesses(plugin.ProcessOptions{WorkDir: t.TempDir()})
	err := ps.Apply([]plugin.Spec{{Name: "a", Argv: []string{"x"}}, {Name: "a", Argv: []string{"x"}}, {Name: "b"}, {Name: "c/d", Argv: []string{"x"}}, {}})
	for _, want := range []string{`"a" is there twice`, `"b" has no command`, `slash`, `needs a name`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// SIGTERM reaches the whole group, then SIGKILL does.
func TestStopGroup(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		work := filepath.Dir(socketDir(t))
		ps, text, stop := newProcesses(t, work, func(o *plugin.ProcessOptions) {
			if o.Grace = patience; deaf {
				o.Grace = 50 * time.Millisecond
			}
		})
		file := filepath.Join(work, "pids")
		args := []string{file}
		if deaf {
			args = append(args, "deaf")
		}
		apply(t, ps, role("family", args...))
		poll(t, "two processes", func() bool { return len(readLines(t, file)) == 2 })
		stop()
		for _, pid := range readLines(t, file) {
			if running(pid) {
				t.Errorf("deaf %v: %s still runs", deaf, pid)
			}
		}
		if strings.Contains(text.String(), "killing it") != deaf {
			t.Errorf("deaf %v: killed or not", deaf)
		}
	}
}

// A child that outlasts its wrapper has the grace too.
func TestStopWrapper(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, _, stop := newProcesses(t, work, func(o *plugin.ProcessOptions) { o.Grace = patience })
	file := filepath.Join(work, "lines")
	apply(t, ps, role("wrapper", file))
	poll(t, "the child", func() bool { return len(readLines(t, file)) == 1 })
	stop()
	if lines := readLines(t, file); !slices.Contains(lines, "drained") {
		t.Errorf("the child was cut off: %q", lines)
	}
}

// A crash leaves nothing of its group.
func TestCrashKillsGroup(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, _, _ := newProcesses(t, work, nil)
	file := filepath.Join(work, "pids")
	apply(t, ps, role("family", file))
	poll(t, "two processes", func() bool { return len(readLines(t, file)) == 2 })
	first := readLines(t, file)
	if err := syscall.Kill(process(ps, "family").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll(t, "the next two", func() bool { return len(readLines(t, file)) == 4 })
	for _, pid := range first {
		if running(pid) {
			t.Errorf("%s still runs beside its successor", pid)
		}
	}
}

// messages are the log's lines of one plugin.
func messages(text *logbuffer.Buffer, name string) (all []map[string]any) {
	for line := range strings.Lines(text.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["plugin"] == name {
			all = append(all, m)
		}
	}
	return all
}

func find(text *logbuffer.Buffer, name, message string) map[string]any {
	for _, m := range messages(text, name) {
		if m["@message"] == message {
			return m
		}
	}
	return nil
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hidden")
	t.Setenv("HTTPS_PROXY", "http://proxy")
	t.Setenv("TZ", "UTC")
	work := filepath.Dir(socketDir(t))
	ps, text, _ := newProcesses(t, work, func(o *plugin.ProcessOptions) {
		o.Groups, o.NATSURL, o.PassEnv = []string{"a", "b"}, "nats://x:4222", []string{"HTTPS_PROXY", "GORACE"}
	})
	spec := role("environ")
	spec.Name, spec.Env = "rules_a", []string{"MODE=worker"}
	apply(t, ps, spec)
	wanted := []string{
		"cwd " + work, "env WORK_DIR=" + work, "env NODE_NAME=n1", "env NODE_GROUPS=a,b",
		"env LOG_LEVEL=200", "env MODE=worker", "env NATS_URL=nats://x:4222", "env TZ=UTC",
		"env EPMESH_PLUGIN_NAME=rules_a", "env HTTPS_PROXY=http://proxy", "env PATH=" + os.Getenv("PATH"),
	}
	poll(t, "its environment", func() bool {
		return !slices.ContainsFunc(wanted, func(line string) bool { return find(text, "rules_a", line) == nil })
	})
	if strings.Contains(text.String(), "hidden") {
		t.Error("a secret of the node's environment reached the plugin")
	}
}

func TestOutput(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, text, _ := newProcesses(t, work, nil)
	apply(t, ps, role("print",
		`ℹ️ {"timestamp":"2026-01-02T03:04:05Z","code":"ab","msg":"rule loaded","args":{"rule":7,"process":"plugin_x"},"severity":"WARNING"}`,
		`{"@level":"error","@message":"broken","@timestamp":"x","count":2}`,
		"plain text",
		strings.Repeat("y", 70_000)+"z",
		`{"@level":"info","@message":"listening","network":"tcp","address":"127.0.0.1:1514"}`,
		"last"))
	poll(t, "the last line", func() bool { return find(text, "print", "last") != nil })
	for message, want := range map[string]map[string]string{
		"rule loaded": {"@level": "warn", "rule": "7", "process": "plugin_x"},
		"broken":      {"@level": "error", "count": "2"},
		"plain text":  {"@level": "info"},
	} {
		m := find(text, "print", message)
		for key, value := range want {
			if m[key] != value {
				t.Errorf("%s: %s is %v, want %s", message, key, m[key], value)
			}
		}
	}
	long := find(text, "print", strings.Repeat("y", 64<<10))
	if long == nil || long["bytes_cut_off"] != float64(70_001-64<<10) {
		t.Errorf("the long line: %v", long["bytes_cut_off"])
	}
	want := []plugin.Listening{{Network: "tcp", Address: "127.0.0.1:1514"}}
	if got := process(ps, "print").Listening; !slices.Equal(got, want) {
		t.Errorf("listening %v", got)
	}
}

// A flood is counted, not logged, and what it announces is still heard.
func TestFlood(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	ps, text, stop := newProcesses(t, work, nil)
	apply(t, ps, role("flood", "20000"))
	until(t, ps, "the address", func() bool { return len(process(ps, "flood").Listening) == 1 })
	stop()
	logged, suppressed, reports := 0, 0, 0
	for _, m := range messages(text, "flood") {
		s, _ := m["@message"].(string)
		switch {
		case strings.HasPrefix(s, "line "), s == "listening":
			logged++
		case strings.HasPrefix(s, "plugin logs too much"):
			reports++
			suppressed += int(m["lines"].(float64))
		}
	}
	if logged+suppressed != 20_001 || logged > 2000 || reports > 5 {
		t.Errorf("%d logged, %d suppressed in %d reports", logged, suppressed, reports)
	}
}

// What lies in the folder of plugins is started, or it is said why not.
func TestExecutables(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	plugins := filepath.Join(work, "plugins")
	script := "#!/bin/sh\necho \"started $EPMESH_PLUGIN_NAME\"\nexec sleep 1000\n"
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(plugins, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(plugins, path)); err != nil {
			t.Fatal(err)
		}
	}
	write("one.plugin", script, 0o700)
	write("sub/deep/com.acme.two_x.plugin", script, 0o700)
	write("z/one.plugin", script, 0o700)
	write("notes.plugin", "text", 0o600)
	write("readme.txt", "text", 0o600)
	link("/bin/sleep", "outside.plugin")
	link("one.plugin", "inside.plugin")
	ps, text, _ := newProcesses(t, work, nil)
	for _, name := range []string{"one", "com.acme.two_x", "inside"} {
		untilState(t, ps, name, plugin.Running)
		poll(t, name, func() bool { return find(text, name, "started "+name) != nil })
	}
	if n := len(ps.Snapshot()); n != 3 {
		t.Errorf("%d processes", n)
	}
	for path, reason := range map[string]string{
		"notes.plugin": "chmod +x", "outside.plugin": "link out of", "z/one.plugin": "same name",
	} {
		poll(t, path, func() bool {
			for line := range strings.Lines(text.String()) {
				if strings.Contains(line, "plugin is not started") && strings.Contains(line, path) && strings.Contains(line, reason) {
					return true
				}
			}
			return false
		})
	}
	if n := strings.Count(text.String(), "plugin is not started"); n != 3 {
		t.Errorf("%d complaints", n)
	}
	// A new version is started in place of the old; one that is gone, stopped.
	pid := process(ps, "com.acme.two_x").PID
	write("sub/deep/com.acme.two_x.plugin", script+"# new\n", 0o700)
	until(t, ps, "the new version", func() bool {
		s := process(ps, "com.acme.two_x")
		return s.State == plugin.Running && s.PID != pid
	})
	if err := os.RemoveAll(filepath.Join(plugins, "sub")); err != nil {
		t.Fatal(err)
	}
	until(t, ps, "its end", func() bool { return len(ps.Snapshot()) == 2 })
	// The configuration's plugin goes before the executable.
	bundled := role("print", "bundled")
	bundled.Name = "one"
	apply(t, ps, bundled)
	poll(t, "the bundled one", func() bool { return find(text, "one", "bundled") != nil })
}
