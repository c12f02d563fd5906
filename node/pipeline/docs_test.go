package pipeline

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/sjson"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/epmesh/epmesh/proto"
)

const stepPages = "../../docs/steps"

// fence is a fenced block with its words: "yaml pipeline", "text log".
var fence = regexp.MustCompile("(?ms)^```(\\w+ \\w+)\n(.*?)^```$")

// untouched is the device's time where no step set it.
var untouched = regexp.MustCompile(`(?m)\n? *"deviceTime": "2026-09-23T14:00:00Z",?$`)

// TestDocs runs the examples of docs/steps: each "text log" goes through the
// last "yaml pipeline" before it and gives the "json event" behind it, which is
// shown without the envelope. -update writes the events anew.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(stepPages, "*.md"))
	if err != nil || len(files) < 13 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runPage(t, string(text))
			if got != string(text) && !*update {
				t.Errorf("%s shows other events than there are, -update writes:\n%s", file, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func runPage(t *testing.T, page string) string {
	var (
		set     *Set
		raw     string
		waiting bool
		answer  map[string]any
	)
	places := func(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
		log := tr.GetDraft().GetLog()
		for path, v := range answer {
			var err error
			if log, err = sjson.Set(log, path, v); err != nil {
				t.Fatal(err)
			}
		}
		return &pb.Draft{Log: log, Errors: tr.GetDraft().GetErrors()}, nil
	}
	page = fence.ReplaceAllStringFunc(page, func(block string) string {
		m := fence.FindStringSubmatch(block)
		switch m[1] {
		case "yaml pipeline":
			var problems []Problem
			if set, problems = build(t, m[2]); len(problems) > 0 {
				t.Error(problems)
			}
		case "json answer":
			if err := json.Unmarshal([]byte(m[2]), &answer); err != nil {
				t.Fatal(err)
			}
		case "text log":
			raw, waiting = strings.TrimSuffix(m[2], "\n"), true
		case "json event":
			if !waiting {
				t.Error("an event without a log")
			}
			waiting = false
			return "```json event\n" + runExample(t, set, raw, places) + "```"
		}
		return block
	})
	if waiting {
		t.Error("a log without its event")
	}
	return page
}

func runExample(t *testing.T, set *Set, raw string, dyn Dynamic) string {
	result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Timestamp: "2026-09-23T14:00:00Z", Raw: raw}, dyn)
	switch {
	case err != nil:
		return err.Error() + "\n"
	case result.Dropped:
		return "dropped\n"
	}
	text := strings.ReplaceAll(pretty(t, asJSON(t, result.Event)), "test.yaml:", "filter.yaml:")
	return strings.Replace(untouched.ReplaceAllString(text, ""), "{\n}", "{}", 1)
}

// TestDocsNameAllKeys shows that each step has a page with all its keys, and
// that the index leads to it.
func TestDocsNameAllKeys(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(stepPages, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps := (&pb.Step{}).ProtoReflect().Descriptor().Fields()
	for i := range steps.Len() {
		name := steps.Get(i).JSONName()
		text, err := os.ReadFile(filepath.Join(stepPages, name+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(text)
		if !strings.HasPrefix(page, "# "+name+"\n") || !strings.Contains(page, "```yaml pipeline") {
			t.Errorf("%s.md has another title, or no example", name)
		}
		if !strings.Contains(string(index), "| ["+name+"]("+name+".md) | ") {
			t.Errorf("the index does not lead to %s.md", name)
		}
		eachKey(steps.Get(i).Message(), "", func(key string) {
			if !strings.Contains(page, "\n| `"+key+"` | ") {
				t.Errorf("%s.md says nothing of %s", name, key)
			}
		})
	}
}

// eachKey gives the keys of a step, with those of the messages in it.
func eachKey(m protoreflect.MessageDescriptor, prefix string, do func(key string)) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		do(prefix + f.JSONName())
		if f.IsList() && f.Message() != nil {
			eachKey(f.Message(), prefix+f.JSONName()+"[].", do)
		}
	}
}

// TestReferencePage shows that each difference on the page is shown by a case
// or test that is there.
func TestReferencePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/from-the-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| |") || strings.HasPrefix(line, "| | Reference") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), " | ")
		names := strings.Fields(strings.ReplaceAll(cells[len(cells)-1], "`", ""))
		if rows++; len(names) == 0 || len(cells) < 3 {
			t.Errorf("nothing shows %s", line)
		}
		for _, name := range names {
			if !shown(t, name) {
				t.Errorf("there is no %q, which shows %s", name, line)
			}
		}
	}
	if rows < 35 {
		t.Errorf("only %d differences", rows)
	}
}
