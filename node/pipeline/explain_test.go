package pipeline

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	pb "github.com/epmesh/epmesh/proto"
)

// sameAsRun explains a log and holds the result against that of Run.
func sameAsRun(t interface{ Fatalf(string, ...any) }, ctx context.Context, set *Set, log *pb.Log, dyn Dynamic) []Trace {
	want, wantErr := set.Run(ctx, log, dyn)
	got, traces, err := set.Explain(ctx, log, dyn)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("explain ends with %v, run with %v", err, wantErr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("explain gives %+v, run %+v", got, want)
	}
	return traces
}

func TestExplainIsRun(t *testing.T) {
	set, geo, dir := compileShared(t)
	for name, log := range sharedLogs(t, dir) {
		traces := sameAsRun(t, t.Context(), set, log, geo.Parse)
		ran, changed := 0, 0
		for _, tr := range traces {
			if tr.Outcome == StepRan {
				ran++
				changed += len(tr.Changes)
			}
		}
		if unparsed := strings.HasPrefix(name, "unparsed-"); len(traces) != len(set.pipelines[0].steps) || ran == 0 || changed == 0 && !unparsed {
			t.Errorf("%s: %d traces, %d steps ran and made %d changes", name, len(traces), ran, changed)
		}
	}
}

// Random pipelines of these steps, over random lines, with a plugin that
// answers, fails and goes away.
func TestExplainIsRunRandom(t *testing.T) {
	steps := strings.Split(strings.TrimSpace(everything[strings.Index(everything, "- json"):]), "\n      ")
	steps = append(steps,
		`- drop: {where: 'exists("log.b") && equals("log.b", "2")'}`,
		`- dynamic: {plugin: bad}`, `- dynamic: {plugin: gone, where: 'exists("log.a")'}`,
		`- add: {function: string, params: {key: origin.port, value: many}, where: 'equals("log.a", 1)'}`,
		`- add: {function: number, params: {key: log.b, value: x}}`,
		`- add: {function: string, params: {key: log.ok, value: fine}, where: 'log.nothing == 1'}`,
	)
	dyn := func(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
		switch tr.GetStep().GetDynamic().GetPlugin() {
		case "bad":
			return nil, errors.New("cannot")
		case "gone":
			return nil, Halt(errors.New("gone"))
		}
		return mark(ctx, tr)
	}
	rapid.Check(t, func(r *rapid.T) {
		text := "pipeline:\n"
		for range rapid.IntRange(1, 3).Draw(r, "pipelines") {
			text += "  - dataTypes: [t]\n    steps:\n      "
			text += strings.Join(rapid.SliceOfN(rapid.SampledFrom(steps), 1, 8).Draw(r, "steps"), "\n      ") + "\n"
		}
		set, _ := build(t, text)
		raw := rapid.SampledFrom([]string{
			`{"a":1,"b":"2","n":"3","date":"2026-09-23"}`, `{"a.b":{"c":[1,{"d":null}]}}`, `a=1 b=2`, `1,"2"`,
			`<a b="c">d</a>`, `192.0.2.1 x1y2`, "drop=1", "x\xff", "",
		}).Draw(r, "raw")
		sameAsRun(r, t.Context(), set, &pb.Log{Id: "1", DataType: "t", Timestamp: "T", Raw: raw}, dyn)
	})
}

func TestExplainTells(t *testing.T) {
	set, _ := build(t, `
pipeline:
  - dataTypes: [t]
    steps:
      - json: {source: raw}
      - grok: {source: log.line, patterns: [{fieldName: log.first, pattern: '\w+'}, {fieldName: log.port, pattern: '[0-9]+'}]}
      - grok: {source: log.none, patterns: [{fieldName: log.x, pattern: '.*'}]}
      - rename: {from: [log.user.name], to: origin.user}
      - add: {function: string, params: {key: action, value: x}, where: 'exists("log.line") && (equals("log.line", "b && c")) && exists("log")'}
      - cast: {fields: [log.n], to: int}
      - cast: {fields: [log.n], to: date}
      - kv: {source: log.none, fieldSplit: ' ', valueSplit: '='}
      - delete: {fields: [log]}
      - drop: {where: 'exists("origin.user")'}
      - json: {}
`)
	_, traces, err := set.Explain(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: `{"line":"one two 3","n":"7","user":{"name":"ann"},"a.b":true}`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		Kind      string
		Outcome   Outcome
		Decided   string
		Changes   []Change
		Unmatched *Unmatched
		Errors    int
	}
	var got []step
	for i, tr := range traces {
		if tr.Position.Line != 5+i || tr.Step != i || tr.Time <= 0 {
			t.Errorf("step %d: %+v", i, tr)
		}
		got = append(got, step{tr.Kind, tr.Outcome, tr.Decided, tr.Changes, tr.Unmatched, len(tr.Errors)})
	}
	want := []step{
		{Kind: "json", Outcome: StepRan, Changes: []Change{
			{"log.line", "", `"one two 3"`},
			{"log.n", "", `"7"`},
			{"log.user.name", "", `"ann"`},
			{"log.a.b", "", "true"},
		}},
		{Kind: "grok", Outcome: StepRan, Unmatched: &Unmatched{Source: "log.line", Part: 1, Field: "log.port", Pattern: "[0-9]+", Rest: "two 3"}},
		{Kind: "grok", Outcome: StepRan, Unmatched: &Unmatched{Source: "log.none", Missing: true}},
		{Kind: "rename", Outcome: StepRan, Changes: []Change{{"log.user", `{"name":"ann"}`, "{}"}, {"origin.user", "", `"ann"`}}},
		{Kind: "add", Outcome: StepSkipped, Decided: `equals("log.line", "b && c")`},
		{Kind: "cast", Outcome: StepRan, Changes: []Change{{"log.n", `"7"`, "7"}}},
		{Kind: "cast", Outcome: StepBroken, Errors: 1},
		{Kind: "kv", Outcome: StepRan, Errors: 1},
		{Kind: "delete", Outcome: StepRan, Changes: []Change{{"log", `{"line":"one two 3","n":7,"user":{},"a":{"b":true}}`, ""}}},
		{Kind: "drop", Outcome: StepDropped},
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A grok that gives up is not asked again where it failed, even if its error is
// one more than are kept.
func TestExplainSlowGrok(t *testing.T) {
	text := "pipeline:\n  - dataTypes: [t]\n    steps:\n" + strings.Repeat("      - json: {source: log.none}\n", maxErrors) +
		"      - grok: {patterns: [{fieldName: log.x, pattern: '[^=]*(?:\\w\\s?){1,900}='}]}\n"
	set, _ := build(t, text)
	result, traces, err := set.Explain(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: strings.Repeat("x", 1<<20)}, nil)
	if err != nil || result.Errors != maxErrors+1 || len(traces) != maxErrors+1 || traces[maxErrors].Unmatched != nil {
		t.Errorf("%d errors, %d traces, %v", result.Errors, len(traces), err)
	}
}
