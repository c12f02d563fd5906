package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
)

// fuzzed is one step, run by itself: the draft as a plugin before the step saw
// it and as one behind it did.
type fuzzed struct {
	t             testing.TB
	before, after string
	errors        []string // that the step added
	dropped       bool
}

// runStep runs a step over a draft, which is given as text; what is no JSON
// object becomes fields of one. The second result is false where there is
// nothing to look at: the draft is beyond the limits, or the condition did not
// hold, which is checked here.
func runStep(t testing.TB, st *pb.Step, where, text string, dyn Dynamic) (fuzzed, bool) {
	t.Helper()
	if !strings.HasPrefix(text, "{") || !json.Valid([]byte(text)) {
		b, err := json.Marshal(map[string]any{"raw": text, "@timestamp": "T", "log": map[string]any{"a": text, "b": map[string]any{"c": 1}}})
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if b, err := proto.Marshal(st); err != nil || len(b) > 4<<10 {
		return fuzzed{}, false // not UTF-8, or only slow
	}
	set, problems := Compile(&config.Set{Pipelines: []config.Pipeline{{Steps: []config.Step{
		{Proto: &pb.Step{Dynamic: &pb.Dynamic{Plugin: "before"}}},
		{Proto: st},
		{Proto: &pb.Step{Dynamic: &pb.Dynamic{Plugin: "after"}}},
	}}}}, Options{})
	f := fuzzed{t: t}
	result, err := set.Resume(t.Context(), "t", &pb.Draft{Log: text}, func(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
		switch tr.Step.GetDynamic().GetPlugin() {
		case "before":
			f.before = tr.Draft.Log
		case "after":
			f.after, f.errors = tr.Draft.Log, tr.Draft.Errors
		default:
			return dyn(ctx, tr)
		}
		return tr.Draft, nil
	})
	checkResult(t, result, err)
	if f.before == "" || err != nil && f.after == "" {
		return f, false
	}
	f.dropped = result.Dropped
	if f.dropped == (f.after != "") {
		t.Fatalf("dropped %v, and behind the step was %q", f.dropped, f.after)
	}
	for _, text := range []string{f.before, f.after} {
		if text != "" && !json.Valid([]byte(text)) {
			t.Fatalf("a plugin was sent %q", text)
		}
	}
	if len(problems) > 0 && (f.dropped || f.after != f.before) {
		t.Fatalf("%v, and yet %s became %s", problems, f.before, f.after)
	}
	return f, len(problems) == 0 && f.holds(where)
}

// holds checks that a step ran, or did nothing, as its condition says.
func (f *fuzzed) holds(where string) bool {
	if strings.TrimSpace(where) == "" {
		return true
	}
	p, err := expr.Compile(strings.TrimSpace(where), nil)
	if err != nil {
		f.t.Fatalf("where %s: no problem was found, and yet %v", where, err)
	}
	doc, err := expr.FromJSON([]byte(f.before))
	if err != nil {
		f.t.Fatal(err)
	}
	ok, err := p.Eval(doc)
	if ok && err == nil {
		return true
	}
	if f.dropped || f.after != f.before || len(f.errors) > 0 != (err != nil) {
		f.t.Fatalf("where %s is %v, %v, and yet %s became %s with %q", where, ok, err, f.before, f.after, f.errors)
	}
	return false
}

// doc decodes a draft; numbers stay as they are written.
func doc(t testing.TB, text string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("%s: more than one value", text)
	}
	return m
}

// is fails the test where the draft behind the step is another than expected.
func (f *fuzzed) is(want map[string]any) {
	f.t.Helper()
	if got := doc(f.t, f.after); !reflect.DeepEqual(got, want) {
		b := new(bytes.Buffer)
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(want)
		f.t.Fatalf("%s became\n%s\nwant\n%s\nerrors %q", f.before, f.after, b, f.errors)
	}
}

// same fails the test where fields that no step may write have changed, or
// anything has though the step had an error and was to be all or nothing.
func (f *fuzzed) kept(fields ...string) {
	f.t.Helper()
	before, after := doc(f.t, f.before), doc(f.t, f.after)
	for _, field := range append(fields, "raw", "@timestamp", "timestamp") {
		if !reflect.DeepEqual(before[field], after[field]) {
			f.t.Fatalf("%s changed: %s became %s", field, f.before, f.after)
		}
	}
}

// put is setting by a path as sjson does it, in its simplest form. It is false
// where an array is on the way, or a part could become one.
func put(in map[string]any, path string, v any) bool {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
	for i, part := range parts {
		if i == len(parts)-1 {
			in[part] = v
			return true
		}
		switch next := in[part].(type) {
		case map[string]any:
			in = next
		case []any:
			return false
		default:
			if digits.MatchString(parts[i+1]) {
				return false
			}
			made := map[string]any{}
			in[part], in = made, made
		}
	}
	return true
}

var (
	digits    = regexp.MustCompile(`^[0-9]+$`)
	unclean   = regexp.MustCompile(`[^A-Za-z0-9._]`)
	plainPath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){0,5}$`)
)

// logOf is what stands under log, made an object where it is none.
func logOf(m map[string]any) map[string]any {
	if _, ok := m["log"].(map[string]any); !ok {
		m["log"] = map[string]any{}
	}
	return m["log"].(map[string]any)
}

// FuzzDynamic takes whatever a plugin may answer.
func FuzzDynamic(f *testing.F) {
	draft := func(log string, errors ...string) []byte {
		b, err := proto.Marshal(&pb.Draft{Log: log, Errors: errors})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(`{"log":{"a":1}}`, draft(`{"log":{"a":2},"raw":"x"}`, "from the plugin"), "")
	f.Add(`{"raw":"x"}`, draft(`[1]`), `exists("raw")`)
	f.Add(`x`, draft(""), `log.a == "x"`)
	f.Add(`x`, []byte(`{"a":"\ud800"`), `log.none`)
	f.Fuzz(func(t *testing.T, text string, answer []byte, where string) {
		answered := &pb.Draft{}
		if proto.Unmarshal(answer, answered) != nil {
			answered = &pb.Draft{Log: string(answer)}
		}
		called := false
		s, ok := runStep(t, &pb.Step{Dynamic: &pb.Dynamic{Plugin: "p", Where: where}}, where, text, func(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
			called = true
			return proto.CloneOf(answered), nil
		})
		if !ok {
			return
		}
		if !called {
			t.Fatal("the plugin was not called")
		}
		var m map[string]any
		dec := json.NewDecoder(strings.NewReader(answered.Log))
		dec.UseNumber()
		if err := dec.Decode(&m); err == nil && m != nil && json.Valid([]byte(answered.Log)) && depth(answered.Log) <= 64 {
			s.is(m)
			if want := min(len(answered.Errors), maxErrors); len(s.errors) != want {
				t.Fatalf("%d errors, the plugin answered %d", len(s.errors), want)
			}
		} else if s.after != s.before || len(s.errors) == 0 {
			t.Fatalf("answer %q: %s became %s with %q", answered.Log, s.before, s.after, s.errors)
		}
	})
}

// depth is at least how deeply a JSON text nests.
func depth(text string) int {
	deepest, at := 0, 0
	for _, c := range []byte(text) {
		switch c {
		case '{', '[':
			at++
			deepest = max(deepest, at)
		case '}', ']':
			at--
		}
	}
	return deepest
}
