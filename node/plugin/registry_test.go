package plugin_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

func TestSocketNames(t *testing.T) {
	for file, want := range map[string]struct {
		kind plugin.Kind
		name string
		ok   bool
	}{
		"geo_parsing.sock":                {plugin.Parsing, "geo", true},
		"com.acme.my_rules_analysis.sock": {plugin.Analysis, "com.acme.my_rules", true},
		"a_parsing_output.sock":           {plugin.Output, "a_parsing", true},
		"x_correlation.sock":              {plugin.Correlation, "x", true},
		"x_notification.sock":             {plugin.Notification, "x", true},
		"_parsing.sock":                   {},
		"engine_server.sock":              {},
		"x_parsing.sock.tmp":              {},
		"":                                {},
	} {
		kind, name, ok := plugin.ParseSocketName(file)
		if kind != want.kind || name != want.name || ok != want.ok {
			t.Errorf("%q: %q %q %v, want %+v", file, kind, name, ok, want)
		}
		if ok && plugin.SocketName(kind, name) != file {
			t.Errorf("%q does not come back: %q", file, plugin.SocketName(kind, name))
		}
	}
}

// A plugin is found whether it was there first or comes later, with any name,
// and found again after each kind of end.
func TestComesAndGoes(t *testing.T) {
	for _, name := range []string{"plain", "with_under_scores", "with.dots", "odd %41 ?#@:[x] ü", "@abstract"} {
		t.Run(name, func(t *testing.T) {
			dir := socketDir(t)
			server := plugintest.Start(t, dir, plugin.Correlation, name, plugintest.Script{})
			r := newRegistry(t, dir, nil)
			c := r.Client(plugin.Correlation, name)
			for _, end := range []func(*plugintest.Server){(*plugintest.Server).Stop, (*plugintest.Server).Kill, nil} {
				waitLive(t, c)
				if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
					t.Fatal(err)
				}
				if end == nil {
					break
				}
				gone := c.Gone()
				end(server)
				waitClosed(t, "gone", gone)
				if class := plugin.Class(c.Correlate(t.Context(), nil, plugin.CallOptions{})); class != plugin.Absent {
					t.Fatalf("a call without the plugin is %v", class)
				}
				server = plugintest.Start(t, dir, plugin.Correlation, name, plugintest.Script{})
			}
		})
	}
}

func TestClientIsOne(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, nil)
	a := r.Client(plugin.Analysis, "a")
	if a != r.Client(plugin.Analysis, "a") || a == r.Client(plugin.Output, "a") {
		t.Fatal("not one handle for each kind and name")
	}
	waitClosed(t, "gone of what never was", a.Gone())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.WaitLive(ctx); err != context.Canceled {
		t.Fatalf("WaitLive: %v", err)
	}
	plugintest.Start(t, dir, plugin.Analysis, "a", plugintest.Script{})
	waitLive(t, a)
	if a != r.Client(plugin.Analysis, "a") {
		t.Fatal("another handle once it is live")
	}
}

func state(r *plugin.Registry, name string) plugin.Status {
	for _, s := range r.Snapshot() {
		if s.Name == name {
			return s
		}
	}
	return plugin.Status{}
}

// A socket that nobody serves is one state and one line, and is connected to as
// soon as somebody does.
func TestUnreachable(t *testing.T) {
	dir := socketDir(t)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	log, text := logger(t)
	r := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: log})
	serve(t, r.Serve)

	plugintest.Start(t, dir, plugin.Output, "dead", plugintest.Script{}).Kill()
	if err := os.WriteFile(filepath.Join(dir, "file_output.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, r, "unreachable", func() bool {
		return state(r, "dead").State == plugin.StateUnreachable && state(r, "file").State == plugin.StateUnreachable
	})
	poll(t, "the log's line", func() bool { return strings.Count(text.String(), "plugin unreachable") == 2 })
	if s := state(r, "dead"); !strings.Contains(s.Reason, "nobody listens") {
		t.Errorf("reason: %q", s.Reason)
	}
	c := r.Client(plugin.Output, "dead")
	if class := plugin.Class(c.EventOutput(t.Context(), nil, plugin.CallOptions{})); class != plugin.Absent {
		t.Errorf("a call is %v", class)
	}
	plugintest.Start(t, dir, plugin.Output, "dead", plugintest.Script{})
	waitLive(t, c)
	if n := strings.Count(text.String(), "plugin unreachable"); n != 2 {
		t.Errorf("%d lines for two sockets", n)
	}
}

// Somebody who listens but does not speak gRPC is not a plugin.
func TestNotGRPC(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, nil)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "web_parsing.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// A read first, so that the answer is not lost with the connection.
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	until(t, r, "unreachable", func() bool { return strings.Contains(state(r, "web").Reason, "gRPC") })
}

// A second process that binds the name takes it over while the first still runs.
func TestReplaced(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, nil)
	first := plugintest.Start(t, dir, plugin.Notification, "n", plugintest.Script{})
	c := r.Client(plugin.Notification, "n")
	waitLive(t, c)
	gone := c.Gone()
	second := plugintest.Start(t, dir, plugin.Notification, "n", plugintest.Script{})
	waitClosed(t, "gone", gone)
	waitLive(t, c)
	if err := c.Notify(t.Context(), nil, plugin.CallOptions{}); err != nil {
		t.Fatal(err)
	}
	if first.Calls() != 0 || second.Calls() != 1 {
		t.Fatalf("calls: %d to the first, %d to the second", first.Calls(), second.Calls())
	}
}

// The folder may go and come, and is watched again.
func TestFolderReplaced(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, func(o *plugin.Options) { o.Rescan = 20 * time.Millisecond })
	c := r.Client(plugin.Parsing, "p")
	plugintest.Start(t, dir, plugin.Parsing, "p", plugintest.Script{}).Stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	poll(t, "the folder", func() bool {
		info, err := os.Stat(dir)
		return err == nil && info.Mode().Perm() == 0o750
	})
	plugintest.Start(t, dir, plugin.Parsing, "p", plugintest.Script{})
	waitLive(t, c)
}

// What nobody asked for is forgotten with its socket.
func TestForgotten(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, nil)
	kept := r.Client(plugin.Output, "kept")
	stop := plugintest.Start(t, dir, plugin.Output, "stray", plugintest.Script{})
	plugintest.Start(t, dir, plugin.Output, "kept", plugintest.Script{})
	waitLive(t, kept)
	until(t, r, "stray is live", func() bool { return state(r, "stray").State == plugin.StateLive })
	stop.Stop()
	until(t, r, "stray is forgotten", func() bool { return len(r.Snapshot()) == 1 })
}

// Serve may run again after it has ended, with the same handles.
func TestServeAgain(t *testing.T) {
	dir := socketDir(t)
	log, _ := logger(t)
	r := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: log})
	c := r.Client(plugin.Output, "o")
	plugintest.Start(t, dir, plugin.Output, "o", plugintest.Script{})
	for range 2 {
		stop := serve(t, r.Serve)
		waitLive(t, c)
		gone := c.Gone()
		stop()
		waitClosed(t, "gone", gone)
		if c.Live() {
			t.Fatal("live without Serve")
		}
	}
}
