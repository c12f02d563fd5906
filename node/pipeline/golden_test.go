package pipeline

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	pb "github.com/epmesh/epmesh/proto"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden runs the logs of testdata/*.txtar through the pipeline in the same
// file. NAME.log is a raw line, NAME.event what comes out but for the envelope.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var set *Set
	wants := map[string]string{}
	for _, f := range archive.Files {
		if f.Name == "pipeline.yaml" {
			set, _ = build(t, string(f.Data))
		}
		if name, ok := strings.CutSuffix(f.Name, ".event"); ok {
			wants[name] = string(f.Data)
		}
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".event") {
			continue
		}
		out.Files = append(out.Files, f)
		name, ok := strings.CutSuffix(f.Name, ".log")
		if !ok {
			continue
		}
		log := &pb.Log{Id: "1", DataType: "t", Timestamp: "2026-09-23T14:00:00Z", Raw: strings.TrimSuffix(string(f.Data), "\n")}
		result, err := set.Run(t.Context(), log, mark)
		var got string
		switch {
		case err != nil:
			got = "error: " + err.Error() + "\n"
		case result.Dropped:
			got = "dropped\n"
		default:
			got = pretty(t, asJSON(t, result.Event))
		}
		if want := wants[name]; got != want && !*update {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
		out.Files = append(out.Files, txtar.File{Name: name + ".event", Data: []byte(got)})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pretty prints an event without its envelope, its fields sorted.
func pretty(t *testing.T, text string) string {
	var e map[string]any
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"id", "@timestamp", "deviceTime", "dataType", "raw"} {
		if key != "deviceTime" || e[key] == e["@timestamp"] {
			delete(e, key)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
