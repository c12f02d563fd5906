package cel

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
)

// What came before the plugin was started again counts, and counts once.
func TestHistorySurvivesARestart(t *testing.T) {
	dir := shortdir.New(t)
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules", "r.yml"), []byte(bruteForce), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(events ...*pb.Event) (ids []string) {
		r, err := New(plugins.Instance{Name: "cel", Dir: dir, Logger: plugins.NewLogger("cel", io.Discard), Config: gjson.Parse(`{"history":{"sync":"always"}}`)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		client := pb.NewAnalysisClient(enginetest.Dial(t, dir, "cel_analysis.sock"))
		for _, e := range events {
			stream, err := client.Analyze(t.Context(), e)
			for err == nil {
				var a *pb.Alert
				if a, err = stream.Recv(); err == nil {
					for _, e := range a.Events {
						ids = append(ids, e.Id)
					}
				}
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return ids
	}
	first := event("1", "203.0.113.1", "failed")
	if got := run(first); got != nil {
		t.Fatalf("one failure: %v", got)
	}
	if got := run(first, first, event("2", "203.0.113.1", "failed")); got != nil {
		t.Fatalf("two failures, one of them three times: %v", got)
	}
	if got := run(event("3", "203.0.113.1", "failed")); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("the third: %v", got)
	}
}

func TestHistorySettings(t *testing.T) {
	for config, want := range map[string]string{
		`{"history":{"store":"cloud"}}`:          `history.store: is "cloud", want disk or memory`,
		`{"history":{"sync":"sometimes"}}`:       `history.sync: is "sometimes", want always, never, or a duration`,
		`{"history":{"sync":"1us"}}`:             `history.sync: is "1us"`,
		`{"history":{"maxBytes":1000}}`:          `history.maxBytes: is 1000, want 67108864 (64 MiB) to`,
		`{"history":{"maxAge":"1ms"}}`:           `history.maxAge: is 1ms, want 1s or more`,
		`{"history":{"searchTime":"1h"}}`:        `history.searchTime: is 1h0m0s, want 10ms to 1m`,
		`{"history":{"memory":{"maxEvents":0}}}`: `history.memory.maxEvents: is 0, want 1 or more`,
		`{"history":{"maxEvents":1}}`:            `unknown setting "maxEvents"`,
	} {
		_, err := New(plugins.Instance{Name: "cel", Dir: t.TempDir(), Logger: plugins.NewLogger("cel", io.Discard), Config: gjson.Parse(config)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
