package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

func encode(t testing.TB, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// way is how the plugin of a test is served, and so called.
type way struct{ kit bool }

// bothWays runs a test with a plugin that is called one by one, and with one
// that is called by its batch lane.
func bothWays(t *testing.T, test func(*testing.T, way)) {
	t.Run("one by one", func(t *testing.T) { test(t, way{}) })
	t.Run("lane", func(t *testing.T) { test(t, way{kit: true}) })
}

func (w way) script(s plugintest.Script) plugintest.Script {
	s.Kit = w.kit
	return s
}

// waitLive waits until the plugin is called in this way.
func (w way) waitLive(t testing.TB, r *plugin.Registry, c *plugin.Client) {
	t.Helper()
	waitLive(t, c)
	if w.kit {
		until(t, r, "the lane", func() bool { return r.Snapshot()[0].Lane })
	}
}

// liveClient is a plugin in this process and its handle.
func liveClient(t testing.TB, kind plugin.Kind, script plugintest.Script, change func(*plugin.Options)) (*plugin.Client, *plugintest.Server, *plugin.Registry) {
	dir := socketDir(t)
	server := plugintest.Start(t, dir, kind, "p", script)
	r := newRegistry(t, dir, change)
	c := r.Client(kind, "p")
	way{kit: script.Kit && script.MaxReceive == 0}.waitLive(t, r, c)
	return c, server, r
}

// call makes the one call that a kind has for messages in wire form.
func call(ctx context.Context, c *plugin.Client, body []byte, o plugin.CallOptions) error {
	switch c.Kind() {
	case plugin.Analysis:
		_, err := c.Analyze(ctx, body, o)
		return err
	case plugin.Correlation:
		return c.Correlate(ctx, body, o)
	case plugin.Notification:
		return c.Notify(ctx, body, o)
	case plugin.Output:
		return c.EventOutput(ctx, body, o)
	}
	_, err := c.ParseLog(ctx, &pb.Transform{Draft: &pb.Draft{Log: string(body)}}, o)
	return err
}

// What is stored arrives as it is, with fields that this node does not know.
func TestBytesPassThrough(t *testing.T) { bothWays(t, testBytesPassThrough) }

func testBytesPassThrough(t *testing.T, w way) {
	unknown := protowire.AppendTag(nil, 900, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "from the future")
	event := append(encode(t, &pb.Event{Id: "e1"}), unknown...)
	alert := append(encode(t, &pb.Alert{Id: "a1"}), unknown...)
	message := append(encode(t, &pb.Message{Id: "m1", Topic: "t"}), unknown...)

	t.Run("analysis", func(t *testing.T) {
		c, server, _ := liveClient(t, plugin.Analysis, w.script(plugintest.Script{Alerts: 3, EmptyAlerts: 2, EOF: true}), nil)
		alerts, err := c.Analyze(t.Context(), event, plugin.CallOptions{})
		if err != nil || len(alerts) != 3 {
			t.Fatalf("%d alerts, %v", len(alerts), err)
		}
		var got pb.Alert
		if err := proto.Unmarshal(alerts[2], &got); err != nil {
			t.Fatal(err)
		}
		if got.Id != "e1-p-2" || !strings.Contains(string(alerts[2]), "from the future") {
			t.Errorf("alert %v", &got)
		}
		if b := encode(t, server.Items()[0]); string(b) != string(event) {
			t.Errorf("the plugin got %q, want %q", b, event)
		}
	})
	for _, tc := range []struct {
		kind plugin.Kind
		body []byte
		call func(*plugin.Client) error
	}{
		{plugin.Correlation, alert, func(c *plugin.Client) error { return c.Correlate(t.Context(), alert, plugin.CallOptions{}) }},
		{plugin.Notification, message, func(c *plugin.Client) error { return c.Notify(t.Context(), message, plugin.CallOptions{}) }},
		{plugin.Output, event, func(c *plugin.Client) error { return c.EventOutput(t.Context(), event, plugin.CallOptions{}) }},
		{plugin.Output, alert, func(c *plugin.Client) error { return c.AlertOutput(t.Context(), alert, plugin.CallOptions{}) }},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			c, server, _ := liveClient(t, tc.kind, w.script(plugintest.Script{}), nil)
			if err := tc.call(c); err != nil {
				t.Fatal(err)
			}
			if b := encode(t, server.Items()[0]); string(b) != string(tc.body) {
				t.Errorf("the plugin got %q, want %q", b, tc.body)
			}
		})
	}
}

func TestParseLog(t *testing.T) { bothWays(t, testParseLog) }

func testParseLog(t *testing.T, w way) {
	c, server, r := liveClient(t, plugin.Parsing, w.script(plugintest.Script{Set: map[string]string{"log.status": "done"}}), nil)
	tr := &pb.Transform{
		Draft: &pb.Draft{Log: `{"id":"1"}`, Step: 4, Pipeline: 2, Errors: []string{"before"}},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: "p"}},
	}
	draft, err := c.ParseLog(t.Context(), tr, plugin.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.Draft{Log: `{"id":"1","log":{"status":"done"}}`, Step: 4, Pipeline: 2, Errors: []string{"before"}}
	if d := cmp.Diff(want, draft, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	// The plugin's own error is told from the transport's.
	server.SetScript(plugintest.Script{Kit: w.kit, Code: codes.Unavailable, Message: "lookup service is down"})
	_, err = c.ParseLog(t.Context(), tr, plugin.CallOptions{})
	if text, ok := plugin.Answered(err); !ok || !strings.Contains(text, "lookup service is down") {
		t.Errorf("answered %q %v: %v", text, ok, err)
	}
	if s := r.Snapshot()[0]; s.Calls != 2 || s.Failures != 1 || s.InFlight != 0 || !strings.Contains(s.LastError, "lookup") {
		t.Errorf("status %+v", s)
	}
	gone := c.Gone()
	server.Stop()
	waitClosed(t, "gone", gone)
	_, err = c.ParseLog(t.Context(), tr, plugin.CallOptions{})
	if _, ok := plugin.Answered(err); ok || err == nil {
		t.Errorf("an absent plugin answered: %v", err)
	}
}

func TestClasses(t *testing.T) { bothWays(t, testClasses) }

func testClasses(t *testing.T, w way) {
	for _, tc := range []struct {
		name     string
		kind     plugin.Kind
		script   plugintest.Script
		body     []byte
		want     plugin.Failure
		answered bool
		text     string
		lane     string // instead of text, by lane
	}{
		{name: "nothing to say", kind: plugin.Analysis, want: plugin.OK},
		{name: "EOF", kind: plugin.Analysis, script: plugintest.Script{EOF: true}, want: plugin.OK},
		{name: "empty answer", kind: plugin.Correlation, want: plugin.OK},
		{name: "EOF is no success elsewhere", kind: plugin.Correlation, script: plugintest.Script{Code: codes.Unknown, Message: "EOF"}, want: plugin.Busy, answered: true},
		{name: "unavailable", kind: plugin.Output, script: plugintest.Script{Code: codes.Unavailable}, want: plugin.Busy, answered: true},
		{name: "exhausted", kind: plugin.Output, script: plugintest.Script{Code: codes.ResourceExhausted}, want: plugin.Busy, answered: true},
		{name: "later", kind: plugin.Output, script: plugintest.Script{Code: codes.Unavailable, RetryInfo: true, Message: "target is away"}, want: plugin.Later, answered: true, text: "target is away"},
		{name: "later, exhausted", kind: plugin.Notification, script: plugintest.Script{Code: codes.ResourceExhausted, RetryInfo: true}, want: plugin.Later, answered: true},
		{name: "invalid for all times", kind: plugin.Notification, script: plugintest.Script{Code: codes.InvalidArgument, RetryInfo: true}, want: plugin.Permanent, answered: true},
		{name: "aborted", kind: plugin.Notification, script: plugintest.Script{Code: codes.Aborted}, want: plugin.Busy, answered: true},
		{name: "canceled by the plugin", kind: plugin.Notification, script: plugintest.Script{Code: codes.Canceled}, want: plugin.Busy, answered: true},
		{name: "unknown", kind: plugin.Analysis, script: plugintest.Script{Code: codes.Unknown, Message: "oops"}, want: plugin.Busy, answered: true, text: `analysis plugin "p" answered: oops (Unknown)`},
		{name: "internal", kind: plugin.Analysis, script: plugintest.Script{Code: codes.Internal}, want: plugin.Busy, answered: true},
		{name: "deadline of its own", kind: plugin.Parsing, script: plugintest.Script{Code: codes.DeadlineExceeded}, want: plugin.Timeout, answered: true},
		{name: "invalid", kind: plugin.Analysis, script: plugintest.Script{Code: codes.InvalidArgument}, want: plugin.Permanent, answered: true},
		{name: "too large for us", kind: plugin.Analysis, body: make([]byte, 4097), want: plugin.Permanent, text: "at most 4096 bytes"},
		{name: "too large for it", kind: plugin.Output, script: plugintest.Script{MaxReceive: 100}, body: encode(t, &pb.Event{Raw: strings.Repeat("x", 200)}), want: plugin.Permanent, text: "of this size"},
		{name: "draft too large for us", kind: plugin.Parsing, body: make([]byte, 5000), want: plugin.Permanent, text: "of this size"},
		{name: "answer too large", kind: plugin.Parsing, script: plugintest.Script{Set: map[string]string{"x": strings.Repeat("x", 9000)}}, want: plugin.Permanent, text: "of this size"},
		{name: "too many alerts", kind: plugin.Analysis, script: plugintest.Script{Alerts: 11}, want: plugin.Permanent, text: "more than 10 alerts"},
		{name: "too much in alerts", kind: plugin.Analysis, script: plugintest.Script{Alerts: 3, AlertSize: 3000}, want: plugin.Permanent, text: "more than 8192 bytes"},
		{name: "one alert too large", kind: plugin.Analysis, script: plugintest.Script{Alerts: 1, AlertSize: 9000}, want: plugin.Permanent, text: "of this size", lane: "more than 8192 bytes"},
		{name: "no answer", kind: plugin.Correlation, script: plugintest.Script{Hang: true}, want: plugin.Timeout, text: "no answer within"},
		{name: "no alerts", kind: plugin.Analysis, script: plugintest.Script{Hang: true}, want: plugin.Timeout, text: "no answer within"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, _ := liveClient(t, tc.kind, w.script(tc.script), func(o *plugin.Options) {
				o.MaxMessage, o.MaxReply, o.MaxAlerts = 4096, 8192, 10
				if tc.script.Hang {
					o.CallTimeout = 100 * time.Millisecond
				}
			})
			err := call(t.Context(), c, tc.body, plugin.CallOptions{})
			if got := plugin.Class(err); got != tc.want {
				t.Errorf("class %v, want %v: %v", got, tc.want, err)
			}
			if _, ok := plugin.Answered(err); ok != tc.answered {
				t.Errorf("answered %v: %v", ok, err)
			}
			text := tc.text
			if w.kit && tc.lane != "" {
				text = tc.lane
			}
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("error %q, want %q in it", err, text)
			}
			if !c.Live() {
				t.Error("no longer live")
			}
		})
	}
	if got := plugin.Class(fmt.Errorf("stage: %w", context.Canceled)); got != plugin.Ended {
		t.Errorf("a context's end is %v", got)
	}
}

func TestUnimplemented(t *testing.T) {
	dir := socketDir(t)
	// What serves events of one kind under the name of another.
	plugintest.Start(t, dir, plugin.Analysis, "p", plugintest.Script{})
	r := newRegistry(t, dir, nil)
	c := r.Client(plugin.Analysis, "p")
	waitLive(t, c)
	err := c.AlertOutput(t.Context(), nil, plugin.CallOptions{})
	if !plugin.Unimplemented(err) || plugin.Class(err) != plugin.Permanent {
		t.Errorf("%v: %v", plugin.Class(err), err)
	}
}

// The caller's end is not the plugin's fault, before the call and during it.
func TestCallerEnds(t *testing.T) { bothWays(t, testCallerEnds) }

func testCallerEnds(t *testing.T, w way) {
	c, server, _ := liveClient(t, plugin.Analysis, w.script(plugintest.Script{Hang: true}), func(o *plugin.Options) { o.InFlight = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := c.Analyze(ctx, nil, plugin.CallOptions{})
			errs <- err
		}()
	}
	poll(t, "a call", func() bool { return server.Calls() == 1 })
	cancel()
	for range 2 {
		if err := <-errs; plugin.Class(err) != plugin.Ended || !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", plugin.Class(err), err)
		}
	}
}

// The registry's end is not the plugin's fault either.
func TestRegistryEnds(t *testing.T) { bothWays(t, testRegistryEnds) }

func testRegistryEnds(t *testing.T, w way) {
	for _, kind := range []plugin.Kind{plugin.Analysis, plugin.Correlation} {
		dir := socketDir(t)
		server := plugintest.Start(t, dir, kind, "p", w.script(plugintest.Script{Hang: true}))
		log, _ := logger(t)
		r := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: log})
		stop := serve(t, r.Serve)
		c := r.Client(kind, "p")
		w.waitLive(t, r, c)
		errs := make(chan error, 1)
		go func() { errs <- call(context.Background(), c, nil, plugin.CallOptions{}) }()
		poll(t, "a call", func() bool { return server.Calls() == 1 })
		stop()
		if err := <-errs; plugin.Class(err) != plugin.Ended {
			t.Errorf("%v: %v", plugin.Class(err), err)
		}
	}
}

// A plugin that dies loses the calls under way, whatever their kind, and never
// one is taken for an answer or for a success.
func TestLost(t *testing.T) { bothWays(t, testLost) }

func testLost(t *testing.T, w way) {
	for _, kind := range plugin.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := socketDir(t)
			r := newRegistry(t, dir, func(o *plugin.Options) { o.InFlight = 100 })
			c := r.Client(kind, "p")
			for i := range 3 {
				taken := filepath.Join(t.TempDir(), fmt.Sprint(i))
				p := plugintest.Spawn(t, dir, kind, "p", w.script(plugintest.Script{Hang: true, Only: "slow", Record: taken}))
				w.waitLive(t, r, c)
				gone := c.Gone()
				body := encode(t, &pb.Event{Id: "slow"}) // field 1, as of the other messages
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						err := call(context.Background(), c, body, plugin.CallOptions{})
						if class := plugin.Class(err); class != plugin.Lost {
							t.Errorf("%v: %v", class, err)
						}
						if _, ok := plugin.Answered(err); ok {
							t.Errorf("taken for an answer: %v", err)
						}
					})
				}
				// Seen by the plugin, not only on their way to it.
				poll(t, "the calls", func() bool {
					lines, _ := os.ReadFile(taken)
					return bytes.Count(lines, []byte("\n")) == 20
				})
				p.Kill()
				wg.Wait()
				waitClosed(t, "gone", gone)
			}
		})
	}
}

// Under load, a plugin that stops gracefully loses nothing: what it has taken is
// answered, what it has not is absent.
func TestGracefulStopLosesNothing(t *testing.T) { bothWays(t, testGracefulStopLosesNothing) }

func testGracefulStopLosesNothing(t *testing.T, w way) {
	c, server, _ := liveClient(t, plugin.Correlation, w.script(plugintest.Script{}), nil)
	var wg sync.WaitGroup
	var good atomic.Int64
	for range 8 {
		wg.Go(func() {
			for {
				switch err := c.Correlate(context.Background(), nil, plugin.CallOptions{}); plugin.Class(err) {
				case plugin.OK:
					good.Add(1)
				case plugin.Absent:
					return
				default:
					t.Errorf("%v: %v", plugin.Class(err), err)
					return
				}
			}
		})
	}
	poll(t, "some calls", func() bool { return good.Load() > 100 })
	server.Stop()
	wg.Wait()
	if n := int64(server.Calls()); n != good.Load() {
		t.Errorf("the plugin took %d, answered %d", n, good.Load())
	}
}

// An exclusive call is alone, and the item that kills its plugin is found.
func TestExclusive(t *testing.T) { bothWays(t, testExclusive) }

func testExclusive(t *testing.T, w way) {
	dir := socketDir(t)
	r := newRegistry(t, dir, func(o *plugin.Options) { o.InFlight = 8 })
	c := r.Client(plugin.Analysis, "p")
	script := plugintest.Script{Poison: "venom", Delay: time.Millisecond}
	plugintest.Spawn(t, dir, plugin.Analysis, "p", w.script(script))
	w.waitLive(t, r, c)

	var running, alone atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 20 {
				exclusive := i == 0
				_, err := c.Analyze(context.Background(), nil, plugin.CallOptions{Exclusive: exclusive})
				if err != nil {
					t.Error(err)
				}
				if exclusive {
					alone.Add(1)
				}
				running.Add(1)
			}
		})
	}
	wg.Wait()
	if alone.Load() != 20 || running.Load() != 320 {
		t.Fatalf("%d alone, %d in all", alone.Load(), running.Load())
	}
	// Bystanders end well; only the exclusive call of the poison is lost.
	gone := c.Gone()
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := c.Analyze(context.Background(), nil, plugin.CallOptions{})
				if class := plugin.Class(err); class != plugin.OK && class != plugin.Absent {
					t.Errorf("a bystander is %v: %v", class, err)
				}
			}
		})
	}
	_, err := c.Analyze(t.Context(), encode(t, &pb.Event{Raw: "venom"}), plugin.CallOptions{Exclusive: true})
	if plugin.Class(err) != plugin.Lost {
		t.Errorf("the poison is %v: %v", plugin.Class(err), err)
	}
	waitClosed(t, "gone", gone)
	close(stop)
	wg.Wait()
}

// Calls in flight are bounded.
func TestInFlight(t *testing.T) { bothWays(t, testInFlight) }

func testInFlight(t *testing.T, w way) {
	c, server, r := liveClient(t, plugin.Output, w.script(plugintest.Script{Hang: true}), func(o *plugin.Options) { o.InFlight = 3 })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { _ = c.EventOutput(ctx, nil, plugin.CallOptions{}) })
	}
	poll(t, "three calls", func() bool { return server.Calls() == 3 })
	if n := r.Snapshot()[0].InFlight; n != 3 {
		t.Errorf("%d in flight", n)
	}
	cancel()
	wg.Wait()
	if n := server.Calls(); n != 3 {
		t.Errorf("%d calls came through", n)
	}
	if n := r.Snapshot()[0].InFlight; n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}
