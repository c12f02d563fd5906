package pipeline

import (
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

// naive is the rule of grok as it is worded.
func naive(text, s string) int {
	at := regexp.MustCompile(text).FindStringIndex(s)
	if at == nil || at[0] == at[1] || !strings.HasPrefix(s, s[at[0]:at[1]]) {
		return 0
	}
	return at[1] - at[0]
}

func compareMatch(t interface{ Fatalf(string, ...any) }, text, s string) {
	m, err := newMatcher(text, pattern.New(nil))
	if err != nil {
		return
	}
	if got, want := m.match(s), naive(text, s); got != want {
		t.Fatalf("%q on %q takes %d, want %d", text, s, got, want)
	}
}

func TestMatcherRandom(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"a", "b", " ", "ab", ".", ".*", ".*?", "a*", "b+", "(a|b)", "(a|)", "^", "$", `\b`, `\B`, `\A`, `\z`,
		"(?i)A", "(?s).", "(?m)^", "(?m)$", `\w+`, `\s`, "[ab]{1,2}?", "\n", "(?:a$|b)", "|", "é", "(?U)a+", "\uFFFD",
	})
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 1, 5).Draw(r, "pattern"), "")
		compareMatch(r, text, rapid.StringMatching(`[abA é\n\x{FFFD}]{0,12}`).Draw(r, "text"))
	})
}

func FuzzMatcher(f *testing.F) {
	f.Add(`\b\w+\b`, "ab cd")
	f.Add(`.*?x`, "aax x")
	f.Add(`x$`, "x y x")
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 60 || len(s) > 200 || strings.Contains(text, "{{") {
			return
		}
		compareMatch(t, text, strings.ToValidUTF8(s, ""))
	})
}

func checkResult(t testing.TB, r Result, err error) {
	t.Helper()
	switch {
	case err != nil:
		if !errors.Is(err, ErrDraft) || r.Event != nil {
			t.Fatalf("%v, %v", r, err)
		}
	case !r.Dropped:
		event := &pb.Event{}
		if err := proto.Unmarshal(r.Event, event); err != nil {
			t.Fatal(err)
		}
	}
}

const everything = `
pipeline:
  - dataTypes: [t]
    steps:
      - json: {where: 'startsWith("raw", "{")'}
      - kv: {fieldSplit: ' ', valueSplit: '='}
      - csv: {headers: [log.c1, log.c2]}
      - xml: {where: 'regexMatch("raw", "^\\s*<")'}
      - grok: {patterns: [{fieldName: log.ip, pattern: '{{.ipv4}}|{{.hostname}}'}, {fieldName: log.rest, pattern: '{{.greedy}}'}]}
      - rename: {from: [log.ip, log.a, log.src], to: origin.host}
      - cast: {fields: [log.n, log.a], to: float}
      - trim: {function: regex, substring: '[0-9]', fields: [log.rest]}
      - reformat: {function: time, fromFormat: '2006-01-02', toFormat: '02.01.2006', fields: [log.date]}
      - add: {function: string, params: {key: log.x.y, value: z}, where: 'log.n > 1.0 || exists("log.a")'}
      - dynamic: {plugin: p}
      - delete: {fields: [log.rest]}
      - drop: {where: 'equals("log.drop", "1")'}
`

func FuzzPipeline(f *testing.F) {
	for _, raw := range []string{`{"a":1,"n":"2"}`, `a=1 b=2`, `1,"2"`, `<a b="c">d</a>`, `192.0.2.1 x1y2`, "drop=1"} {
		f.Add(raw)
	}
	set, problems := build(f, everything)
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: raw}, mark)
		checkResult(t, result, err)
		checkRaw(t, result, raw)
	})
}

// checkRaw shows that an event keeps the text that its log came with.
func checkRaw(t testing.TB, r Result, raw string) {
	t.Helper()
	event := &pb.Event{}
	if err := proto.Unmarshal(r.Event, event); err != nil {
		t.Fatal(err)
	}
	if r.Event != nil && event.Raw != strings.ToValidUTF8(raw, "\uFFFD") && utf8.ValidString(raw) {
		t.Fatalf("raw %q became %q", raw, event.Raw)
	}
}

// FuzzConfigured goes the way of a user's file: a YAML text is read, what came
// out compiled, and a log run through it.
func FuzzConfigured(f *testing.F) {
	for _, raw := range []string{`{"a":1,"n":"2"}`, "192.0.2.1 a=1 b=2"} {
		f.Add(everything, raw)
		f.Add(jsonPipeline, raw)
		f.Add(grokPipeline, raw)
		f.Add(twoDynamics, raw)
	}
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(archive.Files[0].Data), string(archive.Files[1].Data))
	}
	f.Fuzz(func(t *testing.T, text, raw string) {
		if len(text) > 4<<10 || len(raw) > 1<<10 {
			return
		}
		configured, report := config.Parse("f.yaml", []byte(text))
		if report.Err() != nil {
			return
		}
		set, problems := Compile(configured, Options{ListUnknown: true})
		for _, p := range problems {
			if p.Err == nil || p.Position.Line == 0 {
				t.Errorf("a problem without words or place: %+v", p)
			}
		}
		types := []string{"t"}
		for _, p := range configured.Pipelines {
			types = append(types, p.DataTypes...)
		}
		for _, dataType := range slices.Compact(slices.Sorted(slices.Values(types))) {
			result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: dataType, Raw: raw}, mark)
			checkResult(t, result, err)
			checkRaw(t, result, raw)
		}
	})
}
