package pipeline

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
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
		"(?i)A", "(?s).", "(?m)^", "(?m)$", `\w+`, `\s`, "[ab]{1,2}?", "\n", "(?:a$|b)", "|", "é", "(?U)a+",
	})
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 1, 5).Draw(r, "pattern"), "")
		compareMatch(r, text, rapid.StringMatching(`[abA é\n]{0,12}`).Draw(r, "text"))
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

// FuzzStep runs one step of each kind, its settings from outside as well as
// the log.
func FuzzStep(f *testing.F) {
	f.Add("raw", "log.a", " ", "=", `{"log":{"a":1},"raw":"a=1 b=2"}`)
	f.Add("log.x", "a.b", ",", ",", `{"log":{"x":"<a b='c'>d</a>","a":"1,\"2\""}}`)
	f.Fuzz(func(t *testing.T, source, field, a, b, text string) {
		for _, st := range []*pb.Step{
			{Json: &pb.Json{Source: source}},
			{Kv: &pb.Kv{Source: source, FieldSplit: a, ValueSplit: b}},
			{Csv: &pb.Csv{Source: source, Separator: a, Headers: []string{field, b}}},
			{Xml: &pb.Xml{Source: source}},
			{Grok: &pb.Grok{Source: source, Patterns: []*pb.Pattern{{FieldName: field, Pattern: a}, {FieldName: b, Pattern: ".+"}}}},
			{Rename: &pb.Rename{From: []string{source, b}, To: field}},
			{Cast: &pb.Cast{Fields: []string{source, field}, To: "int"}},
			{Cast: &pb.Cast{Fields: []string{source, field}, To: "[]string"}},
			{Trim: &pb.Trim{Function: "regex", Substring: a, Fields: []string{source, field}}},
			{Trim: &pb.Trim{Function: "substring", Substring: a, Fields: []string{source, field}}},
			{Reformat: &pb.Reformat{Function: "time", FromFormat: a, ToFormat: b, Fields: []string{field}}},
			{Delete: &pb.Delete{Fields: []string{source, field}}},
		} {
			set, _ := Compile(&config.Set{Pipelines: []config.Pipeline{{Steps: []config.Step{{Proto: st}}}}}, Options{})
			result, err := set.Resume(t.Context(), &pb.Draft{Log: text}, nil)
			checkResult(t, result, err)
		}
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
	})
}

// TestHostile runs logs made to hurt: each ends, in bounded time, in an event
// that keeps the raw text, or in an error that says why not.
func TestHostile(t *testing.T) {
	set, _ := build(t, everything)
	var keys strings.Builder
	keys.WriteByte('{')
	for i := range 1_000_000 {
		if i > 0 {
			keys.WriteByte(',')
		}
		keys.WriteString(`"k` + strconv.Itoa(i) + `":1`)
	}
	keys.WriteByte('}')
	for name, raw := range map[string]string{
		"long line":     strings.Repeat("x", 10<<20),
		"long words":    strings.Repeat("1a=b ", 1<<19),
		"deep json":     strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"deep list":     `{"a":` + strings.Repeat("[", 1_000_000) + "}",
		"deep xml":      strings.Repeat("<a>", 100_000),
		"many elements": "<a>" + strings.Repeat("<b/>", 200_000) + "</a>",
		"many keys":     keys.String(),
		"many pairs":    strings.NewReplacer(",", " ", ":", "=", `"`, "").Replace(keys.String()),
		"many columns":  strings.Repeat(",", 1<<20),
		"quotes":        strings.Repeat(`"`, 1<<20),
		"bad utf8":      strings.Repeat("\xff\xc3", 1<<19),
		"nul":           strings.Repeat("\x00", 1<<20),
		"long number":   `{"n":` + strings.Repeat("9", 1<<20) + `}`,
		"dotted key":    `{"` + strings.Repeat("a.", 100_000) + `":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: raw}, echo)
			checkResult(t, result, err)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if err == nil {
				event := &pb.Event{}
				if proto.Unmarshal(result.Event, event) != nil || event.Raw != strings.ToValidUTF8(raw, "\uFFFD") {
					t.Error("raw is lost")
				}
			}
		})
	}
	_, err := set.Run(t.Context(), &pb.Log{DataType: "t", Raw: strings.Repeat("x", 17<<20)}, echo)
	if !errors.Is(err, ErrDraft) {
		t.Error(err)
	}
	small, _ := Compile(&config.Set{}, Options{Limits: tree.Limits{Bytes: 10}})
	if _, err := small.Run(t.Context(), &pb.Log{Raw: "more than ten"}, nil); !errors.Is(err, ErrDraft) {
		t.Error(err)
	}
}
