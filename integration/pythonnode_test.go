package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// tapEvents hands events to the test as they are stored, from when it returns.
func tapEvents(t *testing.T, dir string) <-chan *pb.Event {
	t.Helper()
	a, err := bridge.ReadAccess(node.AccessFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bridge.Open(t.Context(), bridge.Options{Name: "test", URL: a.URL, User: a.User, Password: a.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	events, ready := make(chan *pb.Event, 1000), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := b.Tap(t.Context(), bridge.TapFilter{Stage: "events"}, func() { close(ready) }, func(it bridge.Tapped) bool {
			e := new(pb.Event)
			if err := proto.Unmarshal(it.Item.Body, e); err != nil {
				t.Error(err)
				return false
			}
			select {
			case events <- e:
			default: // nobody is waiting for as many
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-ended })
	<-ready
	return events
}

// A parsing plugin in Python, which nobody but its user starts, works behind a
// dynamic step, and logs of a Python input plugin come to it.
func TestPythonPluginsWithNode(t *testing.T) {
	dir := shortdir.New(t)
	configure(t, dir, `
pipeline:
  - dataTypes: [python]
    steps:
      - dynamic: {plugin: py-enricher, params: {label: by-python}}
plugins: {analysis: {order: [none]}}
`)
	parsing := enricher(t, dir)
	n := startNode(t, dir).await()
	events := tapEvents(t, dir)
	if err := parsing.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = parsing.Process.Kill()
		_ = parsing.Wait()
	})
	const lines = 50
	input := enricher(t, dir, "source")
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	input.Stdin = strings.NewReader(text.String())
	if err := input.Run(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	eventually(t, "all events", func() bool {
		for {
			select {
			case e := <-events:
				if got := e.GetLog()["python"].GetStringValue(); got != "by-python" || len(e.GetErrors()) > 0 {
					t.Errorf("event %v", e)
				}
				seen[e.GetRaw()] = true
			default:
				return len(seen) == lines
			}
		}
	})
	n.stop()
}
