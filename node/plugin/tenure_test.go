package plugin_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// A singleton runs while it has a tenure, with what that adds to its
// environment, and the tenure is given back when all of it has ended.
func TestTenure(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	type given struct {
		end      context.CancelFunc
		released chan struct{}
	}
	grant := make(chan struct{})
	tenures := make(chan given, 10)
	var mu sync.Mutex
	held := 0
	ps, text, stop := newProcesses(t, work, func(o *plugin.ProcessOptions) {
		o.Tenure = func(ctx context.Context, name string) (*plugin.Tenure, error) {
			select {
			case <-grant:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if held++; held > 1 || name != "environ" {
				t.Errorf("%d tenures at once, the last for %s", held, name)
			}
			ending, end := context.WithCancel(context.Background())
			g := given{end, make(chan struct{})}
			tenures <- g
			return &plugin.Tenure{
				Env: []string{"EPMESH_EPOCH=7"}, Ending: ending,
				Until: func() time.Time { return time.Now().Add(time.Minute) },
				Release: func() {
					mu.Lock()
					defer mu.Unlock()
					held--
					close(g.released)
				},
			}, nil
		}
	})
	ps.SetSingletons([]string{"environ"})
	apply(t, ps, role("environ"), role("print"))
	untilState(t, ps, "print", plugin.Running)
	untilState(t, ps, "environ", plugin.Standby)
	grant <- struct{}{}
	first := <-tenures
	pid := untilState(t, ps, "environ", plugin.Running).PID
	poll(t, "its environment", func() bool { return strings.Contains(text.String(), "env EPMESH_EPOCH=7") })
	first.end()
	<-first.released
	if running(itoa(pid)) {
		t.Error("it runs without a tenure")
	}
	untilState(t, ps, "environ", plugin.Standby)
	grant <- struct{}{}
	second := <-tenures
	untilState(t, ps, "environ", plugin.Running)
	// One that is none any more is started again without.
	ps.SetSingletons(nil)
	<-second.released
	until(t, ps, "it runs as any other", func() bool { return process(ps, "environ").State == plugin.Running })
	ps.SetSingletons([]string{"environ"})
	untilState(t, ps, "environ", plugin.Standby)
	grant <- struct{}{}
	third := <-tenures
	untilState(t, ps, "environ", plugin.Running)
	stop()
	<-third.released
}
