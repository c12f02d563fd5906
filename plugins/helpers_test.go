package plugins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The signatures are the SDK's.
var (
	_ func(string, func(*Event, Analysis_AnalyzeServer) error) error = InitAnalysisPlugin
	_ func(Topic, map[string]int, string) error                      = EnqueueNotification[map[string]int]
	_ func(*Log, string) error                                       = EnqueueLog
	_                                                                = func() gjson.Result { return PluginCfg("x") }
	_                                                                = func() gjson.Result { return PluginCfg("x", true) }
	_ *emptypb.Empty
)

func TestEnqueueWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan *Log, 1)
		if err := enqueue(queue, &Log{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := enqueue(queue, &Log{}); err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("a full queue: %v", err)
		}
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %s", waited)
		}
		go func() {
			time.Sleep(300 * time.Millisecond)
			<-queue
		}()
		if err := enqueue(queue, &Log{}); err != nil {
			t.Errorf("room was made: %v", err)
		}
		if err := enqueue[Log](queue, nil); err == nil {
			t.Error("nil was taken")
		}
	})
}

func TestEnqueueNotification(t *testing.T) {
	if err := EnqueueNotification(TopicParsingDropped, DataProcessingMessage{DataType: "a", DataSource: "b"}, "p"); err != nil {
		t.Fatal(err)
	}
	m := <-messageQueue
	if m.Topic != "parsing_dropped" || m.Message != `{"dataType":"a","dataSource":"b"}` || m.Id == "" || m.Timestamp == "" {
		t.Errorf("message: %v", m)
	}
	if err := EnqueueNotification(Topic("t"), func() {}, "p"); err == nil {
		t.Error("a function is no JSON")
	}
}

func writeConfig(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, "pipeline", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPluginCfg(t *testing.T) {
	dir := t.TempDir()
	if r := pluginCfg(dir, "mine", false); r.Exists() {
		t.Errorf("settings from nowhere: %s", r.Raw)
	}
	writeConfig(t, dir, "a.yaml", "plugins:\n  mine: {limit: 5, on: true}\n")
	if r := pluginCfg(dir, "mine", true); r.Get("limit").Int() != 5 || !r.Get("on").Bool() {
		t.Errorf("settings: %s", r.Raw)
	}
	// A later file wins; a broken one changes nothing.
	writeConfig(t, dir, "b.yaml", "plugins:\n  mine: {limit: 6}\n")
	if r := pluginCfg(dir, "mine", false); r.Get("limit").Int() != 6 {
		t.Errorf("settings: %s", r.Raw)
	}
	writeConfig(t, dir, "b.yaml", "plugins: [\n")
	if r := pluginCfg(dir, "mine", false); r.Get("limit").Int() != 6 {
		t.Errorf("settings after a mistake: %s", r.Raw)
	}
}

func TestInstanceSettings(t *testing.T) {
	type settings struct {
		Name  string            `json:"name"`
		Count int               `json:"count"`
		Wait  Duration          `json:"wait"`
		List  []string          `json:"list"`
		Sub   struct{ X int }   `json:"sub"`
		Map   map[string]string `json:"map"`
	}
	for text, want := range map[string]string{
		`{"bundled":"file","name":"n","count":2,"wait":"5s"}`: "",
		``:                 "",
		`null`:             "",
		`[1]`:              "plugins.p: want a mapping",
		`{"cuont":2}`:      `plugins.p: unknown setting "cuont"; known at the top: count, list, map, name, sub, wait`,
		`{"count":"many"}`: "plugins.p.count: is a string, want a whole number",
		`{"count":1.5}`:    "plugins.p.count: is a number 1.5, want a whole number",
		`{"name":{}}`:      "plugins.p.name: is a object, want a text",
		`{"wait":"soon"}`:  `"soon" is no duration`,
		`{"wait":5}`:       `5 is no duration`,
		`{"sub":{"x":""}}`: "plugins.p.sub.X: is a string",
	} {
		s := settings{Count: 1}
		err := Instance{Name: "p", Config: gjson.Parse(text)}.Settings(&s)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if strings.Contains(text, `"count":2`) && (s.Count != 2 || s.Wait.D() != 5*time.Second || s.Name != "n") {
			t.Errorf("decoded %+v", s)
		}
	}
}

func TestLoggerWritesJSON(t *testing.T) {
	var b strings.Builder
	NewLogger("p", &b).Info("hello", "n", 1)
	var line map[string]any
	if err := json.Unmarshal([]byte(b.String()), &line); err != nil || line["@level"] != "info" || line["@message"] != "hello" {
		t.Errorf("%s: %v", b.String(), err)
	}
	for text, want := range map[string]hclog.Level{
		"": hclog.Info, "debug": hclog.Debug, "200": hclog.Info, "100": hclog.Debug, "300": hclog.Warn, "400": hclog.Error, "50": hclog.Trace, "loud": hclog.Info,
	} {
		if got := level(text); got != want {
			t.Errorf("level %q is %s", text, got)
		}
	}
}
