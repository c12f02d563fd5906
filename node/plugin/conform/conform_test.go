package conform_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/conform"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

// options run this test binary as a plugin in a role.
func options(t *testing.T, role string) conform.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return conform.Options{
		Argv: []string{self}, Env: []string{roleEnv + "=" + role}, Sequence: sequence(role),
		Start: 15 * time.Second, Call: 15 * time.Second, Grace: 10 * time.Second, Wait: 15 * time.Second,
	}
}

func sequence(role string) *regexp.Regexp {
	if strings.HasPrefix(role, "input:") {
		return regexp.MustCompile(`n=([0-9]+)`)
	}
	return nil
}

func check(t *testing.T, o conform.Options) *conform.Report {
	t.Helper()
	r, err := conform.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, one := range r.Results {
			t.Logf("%-4s %s %s: %s", one.Status, one.Kind, one.Check, one.Seen)
		}
	})
	for _, one := range r.Results {
		if (one.Status == conform.Fail || one.Status == conform.Warn) && one.Cure == "" {
			t.Errorf("%s is %s and names no cure: %s", one.Check, one.Status, one.Seen)
		}
	}
	return r
}

// Plugins that keep the contract, each in its way.
func TestGood(t *testing.T) {
	for _, role := range []string{"parsing:", "analysis:", "correlation:", "input:", "parsing:child"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := check(t, options(t, role))
			if role == "parsing:child" {
				// Its child is in its group, where a node finds it.
				if c, _ := r.Find("children"); c.Status != conform.Warn {
					t.Errorf("children: %v", c)
				}
			} else if n := r.Count(conform.Warn); n > 0 {
				t.Errorf("%d warnings", n)
			}
			if n := r.Count(conform.Fail); n > 0 {
				t.Errorf("%d failures", n)
			}
			kind, _, _ := strings.Cut(role, ":")
			if len(r.Kinds) != 1 || r.Kinds[0] != kind {
				t.Errorf("kinds %q", r.Kinds)
			}
			if _, ok := r.Find("restart"); !ok {
				t.Error("no restart was checked")
			}
		})
	}
}

// The plugins of the node's own tests keep it too.
func TestScripts(t *testing.T) {
	for _, kind := range plugin.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			spec := plugintest.Spec(kind, "s", plugintest.Script{Alerts: 1, EOF: true, EmptyAlerts: 1})
			o := options(t, "")
			o.Env = spec.Env
			r := check(t, o)
			if n := r.Count(conform.Fail) + r.Count(conform.Warn); n > 0 {
				t.Errorf("%d failures and warnings", n)
			}
		})
	}
}

// Plugins that break it, each in one way: the check that finds it, what it says,
// and that nothing else is blamed.
func TestBad(t *testing.T) {
	for _, c := range []struct {
		role, check string
		status      conform.Status
		seen        string
	}{
		{"parsing:exits", "start", conform.Fail, "exit code 0"},
		{"parsing:nosocket", "start", conform.Fail, "neither a socket"},
		{"parsing:othername", "start", conform.Fail, "somebody_parsing.sock"},
		{"parsing:nogrpc", "call", conform.Fail, "does not speak gRPC"},
		{"parsing:open", "socket", conform.Warn, "every user"},
		{"parsing:hangs", "call", conform.Fail, "no answer within"},
		{"parsing:refuses", "call", conform.Warn, "nothing pleases me"},
		{"parsing:clock", "repeat", conform.Warn, "log.seen"},
		{"parsing:dropsraw", "reply", conform.Fail, "raw was"},
		{"parsing:nojson", "reply", conform.Fail, "no JSON"},
		{"parsing:badtype", "reply", conform.Fail, "cannot become an event"},
		{"parsing:newdraft", "reply", conform.Warn, "step 3 and pipeline 2"},
		{"parsing:newdraft", "unknown", conform.Warn, "did not survive"},
		{"parsing:smallreceive", "size", conform.Warn, "too large for me"},
		{"parsing:mixes", "concurrency", conform.Fail, "went to other calls"},
		{"parsing:one", "concurrency", conform.OK, "64 at once"},
		{"parsing:wedges", "cancel", conform.Fail, "answers no more"},
		{"parsing:panics", "odd", conform.Fail, "a call without draft and step ended the plugin: exit code 2"},
		{"parsing:stale", "restart", conform.Fail, "does not serve again"},
		{"parsing:ignoresterm", "stop", conform.Fail, "still there after 2s"},
		{"parsing:failsonterm", "stop", conform.Warn, "exit code 3"},
		{"parsing:diesofterm", "stop", conform.Warn, "unhandled"},
		{"parsing:keepssocket", "socket", conform.Fail, "left behind after SIGTERM"},
		{"parsing:orphan", "children", conform.Fail, "out of a node's reach"},
		{"parsing:chatty", "output", conform.Note, "too many"},
		{"analysis:randomid", "repeat", conform.Warn, "the id of an alert"},
		{"analysis:othertenant", "reply", conform.Fail, `tenant "mine"`},
		{"analysis:flood", "call", conform.Warn, "more than 1000 alerts"},
		{"correlation:randomid", "repeat", conform.Warn, "two messages"},
		{"input:silent", "logs", conform.Warn, "no log within"},
		{"input:empty", "logs", conform.Fail, "empty raw"},
		{"input:noid", "logs", conform.Warn, "no id"},
		{"input:badtime", "logs", conform.Warn, "yesterday"},
		{"input:noacks", "stall", conform.Warn, "does not wait for Acks"},
		{"input:hoards", "stall", conform.Fail, "without a bound"},
		{"input:drops", "sequence", conform.Fail, "never came"},
		{"input:forgets", "node-restart", conform.Fail, "never came again"},
		{"input:newids", "node-restart", conform.Warn, "with another id"},
		{"input:zombie", "node-restart", conform.Fail, "neither connected again nor ended"},
		{"input:ends", "node-restart", conform.Warn, "serves when started again"},
		{"input:ignoresterm", "stop", conform.Fail, "still there after 2s"},
	} {
		t.Run(c.role+"/"+c.check, func(t *testing.T) {
			t.Parallel()
			o := options(t, c.role)
			switch c.role {
			case "parsing:othername":
				o.Name, o.Start = "t", 3*time.Second
			case "parsing:nosocket", "parsing:stale":
				o.Start = 3 * time.Second
			case "parsing:hangs", "parsing:wedges":
				o.Call = 2 * time.Second
			case "parsing:ignoresterm", "input:ignoresterm":
				o.Grace = 2 * time.Second
			case "input:silent":
				o.Wait = 2 * time.Second
			}
			o.Only = only(c.check)
			r := check(t, o)
			got, ok := r.Find(c.check)
			// A plugin that gets no processor for a second looks like one that waits.
			for again := 0; ok && got.Status == conform.OK && c.status != conform.OK && again < 3; again++ {
				t.Logf("again, for %s: %s", c.check, got.Seen)
				r = check(t, o)
				got, ok = r.Find(c.check)
			}
			if !ok || got.Status != c.status || !strings.Contains(got.Seen, c.seen) {
				t.Errorf("%s: got %s %q, want %s with %q", c.check, got.Status, got.Seen, c.status, c.seen)
			}
			for _, one := range r.Results {
				if one.Status == conform.Fail && one.Check != c.check && !follows[c.role][one.Check] {
					t.Errorf("%s fails too: %s", one.Check, one.Seen)
				}
			}
		})
	}
}

// only is what has to be checked for a finding.
func only(check string) []string {
	switch check {
	case "start", "call", "reply", "logs", "output":
		return []string{"health"} // the least
	case "sequence":
		return []string{"stall"}
	case "socket", "children":
		return []string{"stop"}
	}
	return []string{check}
}

// follows are the checks that fail as well, since they must.
var follows = map[string]map[string]bool{
	"input:noid":    {"node-restart": true},
	"input:empty":   {"sequence": true},
	"input:forgets": {"sequence": true},
	"input:zombie":  {"sequence": true},
}

// A plugin that runs is only called, by its socket.
func TestSocket(t *testing.T) {
	dir := shortdir.New(t)
	plugintest.Spawn(t, dir, plugin.Analysis, "live", plugintest.Script{Alerts: 1})
	path := filepath.Join(dir, "live_analysis.sock")
	var r *conform.Report
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if r, err = conform.Check(t.Context(), conform.Options{Socket: path}); !errors.Is(err, conform.ErrUnreachable) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Count(conform.Fail) + r.Count(conform.Warn); n > 0 {
		t.Errorf("%+v", r.Results)
	}
	if p, _ := r.Find("process"); p.Status != conform.Skip {
		t.Errorf("process: %+v", p)
	}
	if !conform.IsSocket(path) {
		t.Error("the socket is gone")
	}
	for name, want := range map[string]string{
		"nobody_analysis.sock": "nobody serves", "engine_server.sock": "the node's own", "x.sock": "<name>_<kind>.sock",
	} {
		_, err := conform.Check(t.Context(), conform.Options{Socket: filepath.Join(dir, name)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever ends the check early leaves nothing behind.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t, "parsing:")
	var workDir string
	o.Prepare = func(dir string) error {
		workDir = dir
		return nil
	}
	o.Tell = func(r conform.Result) {
		if r.Check == "concurrency" {
			cancel()
		}
	}
	if _, err := conform.Check(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(workDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the work dir is still there: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]conform.Options{
		"one of them":  {},
		"no kind":      {Argv: []string{"x"}, Kind: "parsing "},
		"slash":        {Argv: []string{"x"}, Name: "a/b"},
		"parentheses":  {Argv: []string{"x"}, Sequence: regexp.MustCompile("[0-9]+")},
		"not start it": {Argv: []string{"x"}, Prepare: func(string) error { return errors.New("not start it") }},
	} {
		if _, err := conform.Check(t.Context(), o); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "")) && want != "no kind" {
			t.Errorf("%s: %v", want, err)
		}
	}
	// A command that is not there is the plugin's fault, and said as such.
	r := check(t, conform.Options{Argv: []string{"/nonexistent/plugin"}})
	if s, _ := r.Find("start"); s.Status != conform.Fail {
		t.Errorf("start: %+v", s)
	}
}
