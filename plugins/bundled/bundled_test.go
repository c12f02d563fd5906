package bundled

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
)

func TestNames(t *testing.T) {
	want := []string{"archive", "cel", "demo", "email", "file", "geolocation", "http", "incidents", "notify", "syslog", "webhook"}
	if got := Names(); !slices.Equal(got, want) {
		t.Errorf("names: %v", got)
	}
	for _, name := range want {
		if info, ok := Lookup(name); !ok || info.Kind == "" || info.About == "" || info.Name != name {
			t.Errorf("%s: %+v", name, info)
		}
	}
	if _, ok := Lookup("other"); ok {
		t.Error("there is no other")
	}
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, "pipeline", "a.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "plugins:\n  tail: {bundled: file, paths: [x]}\n  traffic: {bundled: demo}\n")
	if err := Check("file", "tail", dir); err == nil || !strings.Contains(err.Error(), "plugins.tail: paths") {
		t.Errorf("tail: %v", err)
	}
	if err := Check("demo", "traffic", dir); err != nil {
		t.Errorf("traffic: %v", err)
	}
	if err := Check("nothing", "x", dir); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "syslog") {
		t.Errorf("nothing: %v", err)
	}
}

// A plugin takes changed settings on, and leaves those with a mistake.
func TestSettingsChange(t *testing.T) {
	dir := shortdir.New(t)
	e := enginetest.New(t, dir)
	write(t, dir, "plugins:\n  traffic: {bundled: demo, rate: 100, tenant: one}\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "demo", "traffic", dir, hclog.NewNullLogger()) }()
	last := func() string {
		logs := e.Received()
		if len(logs) == 0 {
			return ""
		}
		return logs[len(logs)-1].TenantId
	}
	e.Wait(t, "logs of tenant one", func() bool { return last() == "one" })
	write(t, dir, "plugins:\n  traffic: {bundled: demo, rate: -5}\n")
	write(t, dir, "plugins:\n  traffic: {bundled: demo, rate: 100, tenant: two}\n")
	e.Wait(t, "logs of tenant two", func() bool { return last() == "two" })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
