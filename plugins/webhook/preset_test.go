package webhook

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/tidwall/gjson"
)

var update = flag.Bool("update", false, "write the golden files")

// What the presets make of messages: each file has a message and both bodies.
func TestPresets(t *testing.T) {
	const file = "testdata/presets.txtar"
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, f := range golden.Files {
		byName[f.Name] = string(f.Data)
	}
	var now []txtar.File
	for _, f := range golden.Files {
		name, ok := strings.CutSuffix(f.Name, "/message")
		if !ok {
			continue
		}
		m := &pb.Message{Id: name, Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents", Message: strings.TrimSuffix(string(f.Data), "\n")}
		now = append(now, f)
		for _, format := range []string{formatSlack, formatTeams} {
			f, err := Settings{Format: format}.formatter()
			if err != nil {
				t.Fatal(err)
			}
			body, err := f(m)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := json.Indent(&out, body, "", " "); err != nil {
				t.Fatal(err)
			}
			text := out.String() + "\n"
			if diff := cmp.Diff(byName[name+"/"+format], text); diff != "" && !*update {
				t.Errorf("%s/%s (-golden +got):\n%s", name, format, diff)
			}
			now = append(now, txtar.File{Name: name + "/" + format, Data: []byte(text)})
		}
	}
	if *update {
		golden.Files = now
		if err := os.WriteFile(file, txtar.Format(golden), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// within checks a body against the bounds of the receiver and what must not get
// through.
func within(t *testing.T, format string, body []byte) {
	t.Helper()
	if !json.Valid(body) || !utf8.Valid(body) {
		t.Fatalf("%s: no JSON: %q", format, body)
	}
	v := gjson.ParseBytes(body)
	switch format {
	case formatSlack:
		check := func(where string, v gjson.Result, most int) {
			if s := v.String(); s == "" || utf8.RuneCountInString(s) > most || strings.ContainsAny(s, "<>") {
				t.Errorf("slack: %s: %d characters: %.100q", where, len(s), s)
			}
		}
		check("text", v.Get("text"), 4000)
		for _, b := range v.Get("attachments.0.blocks").Array() {
			if b.Get("text").Exists() {
				check("section", b.Get("text.text"), 3000)
			}
			if n := len(b.Get("fields").Array()); n > 10 {
				t.Errorf("slack: %d fields", n)
			}
			for _, f := range b.Get("fields.#.text").Array() {
				check("field", f, 2000)
			}
			for _, f := range b.Get("elements.#.text").Array() {
				check("element", f, 2000)
			}
		}
	case formatTeams:
		if len(body) > teamsBytes {
			t.Errorf("teams: %d bytes", len(body))
		}
		// Only runs hold texts: Markdown is not read in them.
		if strings.Contains(v.Get("attachments.0.content.body.#.type").Raw, `"TextBlock"`) {
			t.Error("teams: a text block")
		}
	}
}

func FuzzFormats(f *testing.F) {
	for _, text := range []string{
		"", "x", "<!channel> & <http://x|y> [a](b)", strings.Repeat("<", 3500), strings.Repeat("\x01", 7000), "```\n```",
		`{"name":"a","description":"` + strings.Repeat("\U0001F600", 2000) + `","adversary":{"ip":"<@U1>"}}`,
		`{"summary":"` + strings.Repeat("&", 1500) + `","severity":"` + strings.Repeat(">", 100) + `"}`, "\xff\xfe", "{\"a\":\"\xff\"}",
	} {
		f.Add("id", "topic", text)
	}
	tmpl := `{"a":{{json .Title}},"b":{{json .JSON}},"c":{{json (get "a.0.b" .Body)}},"d":{{json (cut 10 .Text)}},"e":{{json (default "x" .Body.e)}}}`
	formats := map[string]formatter{}
	for name, s := range map[string]Settings{
		formatJSON: {Format: formatJSON}, formatSlack: {Format: formatSlack}, formatTeams: {Format: formatTeams},
		"template": {Format: formatJSON, Template: tmpl, ContentType: "application/json", MaxBody: 4 << 20},
	} {
		format, err := s.formatter()
		if err != nil {
			f.Fatal(err)
		}
		formats[name] = format
	}
	f.Fuzz(func(t *testing.T, id, topic, text string) {
		m := &pb.Message{Id: id, Timestamp: id, Topic: topic, Message: text}
		for name, format := range formats {
			body, err := format(m)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			within(t, name, body)
		}
		for most := range 12 {
			if s := slackEscape(text, most); len(s) > max(most, 1) {
				t.Errorf("%d bytes, at most %d: %q", len(s), most, s)
			}
		}
		_ = delivery.Line(text, 10)
	})
}
