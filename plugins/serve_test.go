package plugins

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// serve runs Serve until the test ends or stop is called, which returns what it
// returned.
func serve(t *testing.T, o Options) (stop func() error) {
	t.Helper()
	o.Logger = hclog.NewNullLogger()
	ctx, cancel := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	o.ready = func() { close(ready) }
	go func() { ended <- Serve(ctx, o) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-ended
	}
	t.Cleanup(func() { stop() })
	return stop
}

func TestServeAllKinds(t *testing.T) {
	dir := shortdir.New(t)
	stop := serve(t, Options{
		Name: "my_plugin", Dir: dir,
		Parse: func(_ context.Context, tr *Transform) (*Draft, error) {
			if tr.Draft.Log == "panic" {
				panic("oh")
			}
			if tr.Draft.Log == "nothing" {
				return nil, nil
			}
			tr.Draft.Log += "!"
			return tr.Draft, nil
		},
		Analyze: func(_ context.Context, e *Event, emit func(*Alert) error) error {
			for _, id := range []string{"1", "2"} {
				if err := emit(&Alert{Id: e.Id + id}); err != nil {
					return err
				}
			}
			return nil
		},
		Correlate:   func(context.Context, *Alert) error { return nil },
		Notify:      func(context.Context, *Message) error { return status.Error(codes.Unavailable, "later") },
		EventOutput: func(context.Context, *Event) error { return errors.New("no") },
	})
	ctx := t.Context()

	parse := pb.NewParsingClient(enginetest.Dial(t, dir, "my_plugin_parsing.sock"))
	if d, err := parse.ParseLog(ctx, &Transform{Draft: &Draft{Log: "a"}}); err != nil || d.Log != "a!" {
		t.Errorf("parse: %v %v", d, err)
	}
	for _, log := range []string{"panic", "nothing"} {
		if _, err := parse.ParseLog(ctx, &Transform{Draft: &Draft{Log: log}}); status.Code(err) != codes.Internal {
			t.Errorf("%s: %v", log, err)
		}
	}
	alerts, err := pb.NewAnalysisClient(enginetest.Dial(t, dir, "my_plugin_analysis.sock")).Analyze(ctx, &Event{Id: "e"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"e1", "e2"} {
		if a, err := alerts.Recv(); err != nil || a.Id != want {
			t.Errorf("alert: %v %v", a, err)
		}
	}
	if _, err := pb.NewCorrelationClient(enginetest.Dial(t, dir, "my_plugin_correlation.sock")).Correlate(ctx, &Alert{}); err != nil {
		t.Errorf("correlate: %v", err)
	}
	if _, err := pb.NewNotificationClient(enginetest.Dial(t, dir, "my_plugin_notification.sock")).Notify(ctx, &Message{}); status.Code(err) != codes.Unavailable {
		t.Errorf("notify: %v", err)
	}
	out := pb.NewOutputClient(enginetest.Dial(t, dir, "my_plugin_output.sock"))
	if _, err := out.EventOutput(ctx, &Event{}); status.Code(err) != codes.Unknown {
		t.Errorf("event output: %v", err)
	}
	if _, err := out.AlertOutput(ctx, &Alert{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("alert output: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "sockets", "my_plugin_parsing.sock"))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", info, err)
	}
	if err := stop(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "sockets", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestServeLetsCallsEnd(t *testing.T) {
	dir := shortdir.New(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	stop := serve(t, Options{Name: "slow", Dir: dir, Correlate: func(context.Context, *Alert) error {
		close(entered)
		<-leave
		return nil
	}})
	called := make(chan error, 1)
	client := pb.NewCorrelationClient(enginetest.Dial(t, dir, "slow_correlation.sock"))
	go func() {
		_, err := client.Correlate(t.Context(), &Alert{})
		called <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(leave)
	if err := <-called; err != nil {
		t.Errorf("call: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestServeGraceEnds(t *testing.T) {
	dir := shortdir.New(t)
	entered := make(chan struct{})
	stop := serve(t, Options{Name: "stuck", Dir: dir, Grace: 10 * time.Millisecond, Correlate: func(ctx context.Context, _ *Alert) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}})
	client := pb.NewCorrelationClient(enginetest.Dial(t, dir, "stuck_correlation.sock"))
	called := make(chan error, 1)
	go func() {
		_, err := client.Correlate(t.Context(), &Alert{})
		called <- err
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if err := <-called; err == nil {
		t.Error("the call did not fail")
	}
}

func TestServeStaleAndLiveSockets(t *testing.T) {
	dir := shortdir.New(t)
	path := filepath.Join(dir, "sockets", "p_correlation.sock")
	o := Options{Name: "p", Dir: dir, Correlate: func(context.Context, *Alert) error { return nil }}

	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	stop := serve(t, o) // replaces the stale one

	o.Logger = hclog.NewNullLogger()
	if err := Serve(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Errorf("a live socket: %v", err)
	}
	client := pb.NewCorrelationClient(enginetest.Dial(t, dir, "p_correlation.sock"))
	if _, err := client.Correlate(t.Context(), &Alert{}); err != nil {
		t.Errorf("the first no longer serves: %v", err)
	}

	// Another's socket in its place is not taken away at the end.
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stop()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the successor's socket: %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	correlate := func(context.Context, *Alert) error { return nil }
	dir := shortdir.New(t)
	file := filepath.Join(dir, "sockets", "file_correlation.sock")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o    Options
		want string
	}{
		"no name":   {Options{Correlate: correlate}, "needs a name"},
		"slash":     {Options{Name: "a/b", Correlate: correlate}, "slash"},
		"nothing":   {Options{Name: "a"}, "nothing to serve"},
		"long":      {Options{Name: strings.Repeat("a", 100), Correlate: correlate}, "shorter WORK_DIR"},
		"no socket": {Options{Name: "file", Correlate: correlate}, "is no socket"},
	} {
		test.o.Dir, test.o.Logger = dir, hclog.NewNullLogger()
		if err := Serve(t.Context(), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
