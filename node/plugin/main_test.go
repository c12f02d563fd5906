package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

func TestMain(m *testing.M) {
	plugintest.Main()
	if len(os.Args) > 2 && os.Args[1] == "role" {
		os.Exit(roles[os.Args[2]](os.Args[3:]))
	}
	// Processes of the race detector would take a second to exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests; none is expected to last.
const patience = 20 * time.Second

// logger writes to the test's own log.
func logger(t testing.TB) (hclog.Logger, *logbuffer.Buffer) {
	b := new(logbuffer.Buffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.String())
		}
	})
	return hclog.New(&hclog.LoggerOptions{Output: b, Level: hclog.Trace, JSONFormat: true}), b
}

// socketDir is a folder whose path is short enough for sockets.
func socketDir(t testing.TB) string {
	dir := shortdir.New(t)
	return filepath.Join(dir, "sockets")
}

// serve runs a service until the test ends.
func serve(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func newRegistry(t testing.TB, dir string, change func(*plugin.Options)) *plugin.Registry {
	log, _ := logger(t)
	o := plugin.Options{Dir: dir, Logger: log}
	if change != nil {
		change(&o)
	}
	r := plugin.NewRegistry(o)
	serve(t, r.Serve)
	return r
}

func waitLive(t testing.TB, c *plugin.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.WaitLive(ctx); err != nil {
		t.Fatalf("%s plugin %s is not live: %v", c.Kind(), c.Name(), err)
	}
}

func waitClosed(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: waited in vain", what)
	}
}

// changing is a Registry or Processes.
type changing interface{ Changes() <-chan struct{} }

// until waits for a condition that only changes of c can bring about.
func until(t testing.TB, c changing, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		changed := c.Changes()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: waited in vain", what)
		}
	}
}

// poll waits for a condition outside of this process.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: waited in vain", what)
		}
	}
}
