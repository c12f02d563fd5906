package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

// build compiles a pipeline file given as text.
func build(t testing.TB, text string) (*Set, []Problem) {
	t.Helper()
	return Compile(parse(t, "dir/test.yaml", []byte(text)), Options{ListUnknown: true})
}

// event runs a raw line of data type t and gives the event as JSON.
func event(t testing.TB, set *Set, raw string, dyn Dynamic) string {
	t.Helper()
	result, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Timestamp: "2026-09-23T14:00:00Z", Raw: raw}, dyn)
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(t, result.Event)
}

func asJSON(t testing.TB, wire []byte) string {
	t.Helper()
	e := &pb.Event{}
	if err := proto.Unmarshal(wire, e); err != nil {
		t.Fatal(err)
	}
	b, err := protojson.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const twoDynamics = `
pipeline:
  - dataTypes: [t]
    steps:
      - json: {source: raw}
      - dynamic: {plugin: first, params: {n: 1}}
      - add: {function: string, params: {key: log.between, value: "yes"}}
      - dynamic: {plugin: second, where: 'exists("log.a")'}
      - dynamic: {plugin: never, where: 'exists("log.none")'}
  - dataTypes: [other]
    steps:
      - drop: {}
  - dataTypes: [t, other]
    steps:
      - add: {function: string, params: {key: log.last, value: end}}
`

// mark is a plugin that writes its name into the log and the errors.
func mark(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
	name := tr.Step.GetDynamic().GetPlugin()
	log, err := sjson.Set(tr.Draft.Log, "log."+name, true)
	return &pb.Draft{Log: log, Errors: append(tr.Draft.Errors, "from "+name)}, err
}

func TestDynamic(t *testing.T) {
	set, problems := build(t, twoDynamics)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := set.Plugins(); !slices.Equal(got, []string{"first", "never", "second"}) {
		t.Error(got)
	}
	got := event(t, set, `{"a":1}`, mark)
	for _, path := range []string{"log.a", "log.first", "log.between", "log.second", "log.last"} {
		if !gjson.Get(got, path).Exists() {
			t.Errorf("%s is missing in %s", path, got)
		}
	}
	if e := gjson.Get(got, "errors").String(); gjson.Get(e, "#").Int() != 2 || gjson.Get(got, "log.never").Exists() {
		t.Error(got)
	}
}

func TestDynamicFails(t *testing.T) {
	set, _ := build(t, twoDynamics)
	for name, dyn := range map[string]Dynamic{
		"plugin first: boom": func(context.Context, *pb.Transform) (*pb.Draft, error) { return nil, errors.New("boom") },
		"plugin first: answered no draft": func(context.Context, *pb.Transform) (*pb.Draft, error) {
			return nil, nil
		},
		"plugin first: answer: not JSON": func(context.Context, *pb.Transform) (*pb.Draft, error) {
			return &pb.Draft{Log: "oops"}, nil
		},
		"plugin first cannot be called here": nil,
	} {
		got := event(t, set, `{"a":1}`, dyn)
		if n := gjson.Get(got, "errors.#").Int(); n != 2 || !strings.Contains(gjson.Get(got, "errors.0").String(), name) {
			t.Errorf("%s: %s", name, got)
		}
		if !strings.HasPrefix(gjson.Get(got, "errors.0").String(), "test.yaml:") || !gjson.Get(got, "log.last").Exists() || !gjson.Get(got, "log.a").Exists() {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestErrorsStay shows that an answer without the errors sent loses none.
func TestErrorsStay(t *testing.T) {
	set, _ := build(t, twoDynamics)
	got := event(t, set, `not json`, func(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
		return &pb.Draft{Log: tr.Draft.Log}, nil
	})
	if e := gjson.Get(got, "errors").String(); !strings.Contains(e, "step 1 json: source raw: not JSON") || gjson.Get(e, "#").Int() != 1 {
		t.Error(got)
	}
}

func TestHaltAndResume(t *testing.T) {
	here, _ := build(t, twoDynamics)
	there, _ := build(t, twoDynamics)
	if here.Fingerprint() != there.Fingerprint() || len(here.Fingerprint()) != 32 {
		t.Fatal(here.Fingerprint(), there.Fingerprint())
	}
	log := &pb.Log{Id: "1", DataType: "t", Raw: `{"a":1,"bad":`, Timestamp: "2026-09-23T14:00:00Z"}
	log.Raw = `{"a":1}`
	whole, err := here.Run(t.Context(), log, mark)
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range []string{"first", "second"} {
		gone := Halt(fmt.Errorf("no plugin %s here", missing))
		result, err := here.Run(t.Context(), log, func(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
			if tr.Step.GetDynamic().GetPlugin() == missing {
				tr.Draft.Log = "spoilt" // what is handed over is a copy
				return nil, gone
			}
			return mark(ctx, tr)
		})
		if err != gone || result.Event != nil || result.Suspended == nil {
			t.Fatalf("%v, %v", result, err)
		}
		// The draft travels as bytes.
		b, err := proto.Marshal(result.Suspended)
		if err != nil {
			t.Fatal(err)
		}
		draft := &pb.Draft{}
		if err := proto.Unmarshal(b, draft); err != nil {
			t.Fatal(err)
		}
		resumed, err := there.Resume(t.Context(), "t", draft, mark)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := asJSON(t, resumed.Event), asJSON(t, whole.Event); !sameText(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The pipelines after a handover are those of the type that the log came with,
// whatever a step made of it.
func TestResumeAnotherType(t *testing.T) {
	set, _ := build(t, `
pipeline:
  - dataTypes: [u, t, v]
    steps:
      - add: {function: string, params: {key: dataType, value: u}}
      - dynamic: {plugin: first}
  - dataTypes: [u]
    steps: [{add: {function: string, params: {key: log.last, value: of u}}}]
  - dataTypes: [t]
    steps: [{add: {function: string, params: {key: log.last, value: of t}}}]
`)
	want := event(t, set, "x", mark)
	log := &pb.Log{Id: "1", DataType: "t", Timestamp: "2026-09-23T14:00:00Z", Raw: "x"}
	result, err := set.Run(t.Context(), log, func(context.Context, *pb.Transform) (*pb.Draft, error) {
		return nil, Halt(errors.New("not here"))
	})
	if err == nil || result.Suspended == nil {
		t.Fatal(result, err)
	}
	resumed, err := set.Resume(t.Context(), log.DataType, result.Suspended, mark)
	if err != nil {
		t.Fatal(err)
	}
	if got := asJSON(t, resumed.Event); got != want || gjson.Get(got, "log.last").String() != "of t" {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func sameText(a, b string) bool {
	x, y := &pb.Event{}, &pb.Event{}
	return protojson.Unmarshal([]byte(a), x) == nil && protojson.Unmarshal([]byte(b), y) == nil && proto.Equal(x, y)
}

func TestResumeRefuses(t *testing.T) {
	set, _ := build(t, twoDynamics)
	for _, d := range []*pb.Draft{
		{Log: `{}`, Pipeline: 3},
		{Log: `{}`, Step: 6},
		{Log: `[]`},
		{},
		nil,
	} {
		if _, err := set.Resume(t.Context(), "t", d, mark); !errors.Is(err, ErrDraft) {
			t.Errorf("%v: %v", d, err)
		}
	}
}

func TestContextStops(t *testing.T) {
	set, _ := build(t, twoDynamics)
	ctx, cancel := context.WithCancel(t.Context())
	result, err := set.Run(ctx, &pb.Log{DataType: "t", Raw: `{}`}, func(context.Context, *pb.Transform) (*pb.Draft, error) {
		cancel()
		return nil, errors.New("call ended")
	})
	if !errors.Is(err, context.Canceled) || result.Suspended == nil {
		t.Errorf("%v, %v", result, err)
	}
}

func TestDropAndNoPipeline(t *testing.T) {
	set, _ := build(t, twoDynamics)
	if r, err := set.Run(t.Context(), &pb.Log{DataType: "other", Raw: "x"}, nil); err != nil || !r.Dropped || r.Event != nil {
		t.Errorf("%v, %v", r, err)
	}
	r, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "none", Raw: "x\xff", Timestamp: "T"}, nil)
	if err != nil || r.Errors != 0 {
		t.Fatal(err)
	}
	if got := asJSON(t, r.Event); gjson.Get(got, "raw").String() != "x\uFFFD" || gjson.Get(got, "deviceTime").String() != "T" {
		t.Error(got)
	}
}

func TestUndecodable(t *testing.T) {
	set, _ := build(t, `
pipeline:
  - dataTypes: [t]
    steps:
      - add: {function: string, params: {key: origin.port, value: many}}
`)
	_, err := set.Run(t.Context(), &pb.Log{DataType: "t", Raw: "x"}, nil)
	if !errors.Is(err, ErrDraft) || !strings.Contains(err.Error(), "field origin.port") {
		t.Error(err)
	}
}

func TestProblems(t *testing.T) {
	set, problems := build(t, `
pipeline:
  - dataTypes: [t]
    steps:
      - add: {function: string, params: {key: log.a, value: x}, where: 'exists('}
      - add: {function: number, params: {key: log.b, value: x}, where: 'exists("none")'}
      - add: {function: string, params: {key: raw, value: x}}
      - add: {function: string, params: {key: timestamp, value: x}}
      - rename: {from: [log.a], to: '@timestamp'}
      - grok: {patterns: [{fieldName: log.x, pattern: '('}]}
      - grok: {patterns: [{fieldName: raw.x, pattern: 'x'}]}
      - grok: {patterns: [{fieldName: log.x, pattern: '{{.nope}}'}]}
      - cast: {fields: [log.a], to: date}
      - kv: {fieldSplit: ' '}
      - csv: {separator: ','}
      - trim: {function: cut, fields: [log.a]}
      - reformat: {function: date, fields: [log.a]}
      - dynamic: {}
      - delete: {fields: ['log.*']}
      - add: {function: string, params: {key: log.ok, value: fine}, where: 'log.nothing == 1'}
      - add: {function: string, params: {key: log.ok, value: fine}}
`)
	if len(problems) != 15 {
		t.Errorf("%d problems", len(problems))
	}
	for _, p := range problems {
		if p.Position.Line == 0 || !strings.HasPrefix(p.Error(), "dir/test.yaml:") {
			t.Error(p)
		}
	}
	got := event(t, set, "x", nil)
	// The second is not met, since its condition is false; the last but one
	// fails at run time.
	if n := gjson.Get(got, "errors.#").Int(); n != 15 || gjson.Get(got, "log.ok").String() != "fine" {
		t.Errorf("%d errors: %s", n, got)
	}
	if first := gjson.Get(got, "errors.0").String(); !strings.HasPrefix(first, "test.yaml:5:9: step 1 add: where: expression: 1:") {
		t.Error(first)
	}
}

func TestManyErrors(t *testing.T) {
	text := "pipeline:\n  - dataTypes: [t]\n    steps:\n"
	for range 150 {
		text += "      - json: {source: log.none}\n"
	}
	set, _ := build(t, text)
	if r, err := set.Run(t.Context(), &pb.Log{Id: "1", DataType: "t", Raw: "x"}, nil); err != nil || r.Errors != 150 {
		t.Errorf("%d errors, %v", r.Errors, err)
	}
	got := event(t, set, "x", nil)
	if gjson.Get(got, "errors.#").Int() != 101 || gjson.Get(got, "errors.100").String() != "and 50 more errors" {
		t.Error(gjson.Get(got, "errors.@reverse.0"))
	}
}

func TestFingerprint(t *testing.T) {
	base, _ := build(t, twoDynamics)
	moved, _ := build(t, "\n\n"+twoDynamics)
	changed, _ := build(t, strings.Replace(twoDynamics, "end", "END", 1))
	if base.Fingerprint() != moved.Fingerprint() || base.Fingerprint() == changed.Fingerprint() {
		t.Error("fingerprints do not name what the pipelines do")
	}
}
