package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

func message(text string) *pb.Message {
	return &pb.Message{Id: "m1", Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents", Message: text}
}

func build(t *testing.T, settings string, log hclog.Logger) *notifier {
	t.Helper()
	r, err := New(plugins.Instance{Name: "n", Dir: shortdir.New(t), Logger: log, Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	n := r.(*notifier)
	return n
}

func TestPrintsOneLine(t *testing.T) {
	var out bytes.Buffer
	n := build(t, `{"topics":["incidents"]}`, plugins.NewLogger("n", &out))
	for _, text := range []string{`{"summary":"HIGH things","x":1}`, "plain\ntext", strings.Repeat("x", 5000)} {
		if err := n.notify(t.Context(), message(text)); err != nil {
			t.Fatal(err)
		}
	}
	other := message("unwanted")
	other.Topic = "other"
	if err := n.notify(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m["@message"].(string))
	}
	if len(lines) != 3 || lines[0] != "HIGH things" || lines[1] != "plain text" || len(lines[2]) > 2010 {
		t.Errorf("lines: %.100q", lines)
	}
}

func TestServed(t *testing.T) {
	n := build(t, "", hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	if _, err := pb.NewNotificationClient(enginetest.Dial(t, n.Dir, "n_notification.sock")).Notify(t.Context(), message("x")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Who wants messages posted is told where.
func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"url":"http://example.com/s3cret"}`: "plugins.n.url: notify only writes to the log; to post messages to a URL use bundled: webhook",
		`{"headers":{"A":"b"}}`:               "plugins.n.headers: notify only writes",
		`{"topcs":[]}`:                        `unknown setting "topcs"`,
		`{"topics":"x"}`:                      "topics: ",
	} {
		_, err := New(plugins.Instance{Name: "n", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
