package pipeline

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// hurt runs a log that is made to hurt: it ends, in bounded time and memory, in
// an event that keeps the raw text.
func hurt(t *testing.T, set *Set, raw string) *pb.Event {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: raw}, echo)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	checkResult(t, result, err)
	allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%v, %d MiB allocated for a log of %d KiB, %d errors", took.Round(time.Millisecond), allocated, len(raw)>>10, result.Errors)
	if took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if allocated > 512 && !raceDetector {
		t.Errorf("allocated %d MiB", allocated)
	}
	event := &pb.Event{}
	if err == nil && (proto.Unmarshal(result.Event, event) != nil || event.Raw != strings.ToValidUTF8(raw, "\uFFFD")) {
		t.Error("raw is lost")
	}
	for _, text := range event.Errors {
		if len(text) > maxError+len("...") || !utf8.ValidString(text) {
			t.Errorf("error %.100q of %d bytes", text, len(text))
		}
	}
	return event
}

// TestHostile runs logs of every bad kind through steps of every kind.
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
		"long key":      `{"` + strings.Repeat("k", 5<<20) + `":1}`,
		"equal keys":    "{" + strings.Repeat(`"a":1,`, 90_000) + `"a":2}`,
		"escapes":       `{"a":"` + strings.Repeat(`\u0000`, 500_000) + `"}`,
		"surrogates":    `{"a":"` + strings.Repeat(`\ud800`, 500_000) + `"}`,
		"broken json":   strings.Repeat(`{"a":[`, 100_000),
		"deep numbers":  `{"a":` + strings.Repeat("[1,", 60) + "1" + strings.Repeat("]", 60) + "}",
		"far index":     `{"a.999999999":1,"b.1000.1000.1000":1}`,
		"newlines":      strings.Repeat("\n", 5<<20),
		"spaces":        strings.Repeat(" ", 10<<20),
		"attributes":    "<a " + strings.Repeat(`b="c" `, 150_000) + "/>",
		"entities":      `<!DOCTYPE a [<!ENTITY b "` + strings.Repeat("x", 1000) + `">]><a>` + strings.Repeat("&b;", 10_000) + "</a>",
	} {
		t.Run(name, func(t *testing.T) {
			hurt(t, set, raw)
		})
	}
}

// A log, or a draft, that is beyond the limits can never become an event: the
// error says so, and its text goes to the dead letters.
func TestTooLarge(t *testing.T) {
	set, _ := build(t, everything)
	_, err := set.Run(t.Context(), &pb.Log{DataType: "t", Raw: strings.Repeat("x", 17<<20)}, echo)
	if !errors.Is(err, ErrDraft) || !strings.Contains(err.Error(), "longer than 16777216 bytes") {
		t.Error(err)
	}
	small, _ := Compile(&config.Set{}, Options{Limits: tree.Limits{Bytes: 10}})
	if _, err := small.Run(t.Context(), &pb.Log{Raw: "more than ten"}, nil); !errors.Is(err, ErrDraft) {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"nested too deeply": `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}",
		"too many values":   `{"a":[` + strings.Repeat("1,", 100_000) + "1]}",
		"text too long":     `{"a":"` + strings.Repeat("x", 17<<20) + `"}`,
	} {
		_, err := set.Resume(t.Context(), "t", &pb.Draft{Log: text}, echo)
		if !errors.Is(err, ErrDraft) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManySteps runs ten thousand steps over one log, each of which fails.
func TestManySteps(t *testing.T) {
	for name, step := range map[string]string{
		"an error":    "json: {source: raw}",
		"no pattern":  "grok: {patterns: [{fieldName: log.a, pattern: '('}]}",
		"a condition": "add: {function: string, params: {key: log.a, value: x}, where: 'log.none == 1'}",
		"a write":     "add: {function: string, params: {key: log.a.b.c, value: x}}",
		"a copy":      "rename: {from: [raw], to: log.a}",
	} {
		t.Run(name, func(t *testing.T) {
			set, _ := build(t, "pipeline:\n  - dataTypes: [t]\n    steps:\n"+strings.Repeat("      - "+step+"\n", 10_000))
			event := hurt(t, set, strings.Repeat("x ", 1000))
			if len(event.Errors) > maxErrors+1 {
				t.Errorf("%d errors", len(event.Errors))
			}
		})
	}
}

// TestHostileAnswers takes answers of plugins that are made to hurt.
func TestHostileAnswers(t *testing.T) {
	set, _ := build(t, "pipeline: [{dataTypes: [t], steps: [{dynamic: {plugin: p}}, {dynamic: {plugin: p}}]}]")
	for name, answer := range map[string]*pb.Draft{
		"deep":        {Log: strings.Repeat(`{"a":`, 1_000_000)},
		"many values": {Log: `{"a":[` + strings.Repeat("1,", 1_000_000) + "1]}"},
		"long":        {Log: `{"raw":"` + strings.Repeat("x", 17<<20) + `"}`},
		"many errors": {Log: "[]", Errors: strings.Split(strings.Repeat("x ", 1_000_000), " ")},
		"no text":     {Log: "\xff\xfe"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: "kept"}, func(context.Context, *pb.Transform) (*pb.Draft, error) { return answer, nil })
			checkResult(t, result, err)
			event := &pb.Event{}
			if err := proto.Unmarshal(result.Event, event); err != nil || event.Raw != "kept" || len(event.Errors) == 0 || len(event.Errors) > maxErrors+1 {
				t.Errorf("%v, %d errors, raw %.20q", err, len(event.Errors), event.Raw)
			}
		})
	}
}

// TestHostileExpressions matches expressions that follow thousands of ways at
// once against a long log: each gives up with an error, and all is kept.
func TestHostileExpressions(t *testing.T) {
	const hard = `'[^=]*(?:\w\s?){1,900}='`
	for name, step := range map[string]string{
		"grok":       "grok: {patterns: [{fieldName: log.a, pattern: " + hard + "}]}",
		"grok again": "grok: {patterns: [{fieldName: log.a, pattern: '(?:x?){1000}\\b'}]}",
		"trim":       "trim: {function: regex, substring: " + hard + ", fields: [log.copy]}",
		"where":      "add: {function: string, params: {key: log.a, value: x}, where: " + strings.ReplaceAll(`'regexMatch("raw", r"[^=]*(?:\w\s?){1,900}=")'`, "\n", "") + "}",
		"loop":       "add: {function: string, params: {key: log.a, value: x}, where: " + `'[1, 2, 3].all(x, !regexMatch("raw", r"[^=]*(?:\w\s?){1,900}="))'` + "}",
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := build(t, "pipeline:\n  - dataTypes: [t]\n    steps:\n      - rename: {from: [raw], to: log.copy}\n      - "+step+"\n      - add: {function: string, params: {key: action, value: done}}\n")
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			event := hurt(t, set, strings.Repeat("x", 2<<20)+"-=")
			if event.Action != "done" {
				t.Error("the steps behind were not run")
			}
			if name != "grok again" && (len(event.Errors) != 1 || !strings.Contains(event.Errors[0], "takes too long") && !strings.Contains(event.Errors[0], "interrupted")) {
				t.Errorf("%q", event.Errors)
			}
		})
	}
}

// TestLate shows that a log cannot take for ever by many steps that each take
// their time.
func TestLate(t *testing.T) {
	text := "pipeline:\n  - dataTypes: [t]\n    steps:\n" + strings.Repeat("      - json: {source: raw}\n", 500)
	configured, _ := config.Parse("late.yaml", []byte(text))
	set, _ := Compile(configured, Options{MaxTime: 50 * time.Millisecond})
	raw := `{"a":"` + strings.Repeat(`\n`, 1<<20) + `"}`
	result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: raw}, nil)
	checkResult(t, result, err)
	event := &pb.Event{}
	if err := proto.Unmarshal(result.Event, event); err != nil {
		t.Fatal(err)
	}
	if len(event.Errors) != 1 || !strings.HasSuffix(event.Errors[0], "json: not run, like all after it: the log takes longer than 50ms") || event.Raw != raw {
		t.Errorf("%q", event.Errors)
	}
	// What plugins take is not counted.
	set, _ = build(t, "pipeline: [{dataTypes: [t], steps: [{dynamic: {plugin: p}}, {add: {function: string, params: {key: action, value: done}}}]}]")
	set.options.MaxTime = 20 * time.Millisecond
	result, err = set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: "x"}, func(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return tr.GetDraft(), nil
	})
	if err != nil || result.Errors > 0 {
		t.Errorf("%v, %d errors", err, result.Errors)
	}
}
