package pipeline

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

const sampleDraft = `{"id":"1","raw":"x","@timestamp":"T","log":{"a":" 12 ","b":{"c":[1,2.50,"x"],"d":null},"n":-1e3,"yes":true,"at":"2026-09-23","e":""},"origin":{"ip":"192.0.2.1"}}`

// edited is a draft that sjson and gjson edit beside ours.
type edited struct {
	text  string
	exact bool // sjson was asked nothing that it and we read differently
}

// get reads a path, and gives up exactness for those that are more than keys.
func (e *edited) get(path string) gjson.Result {
	if !plainPath.MatchString(path) {
		e.exact = false
	}
	if !e.exact {
		return gjson.Result{}
	}
	return gjson.Get(e.text, path)
}

func (e *edited) set(path string, raw string) {
	if !plainPath.MatchString(path) || len(path) > 60 || farIndex.MatchString(path) {
		e.exact = false
	}
	if !e.exact {
		return
	}
	text, err := sjson.SetRaw(e.text, path, raw)
	if err != nil || !gjson.Valid(text) {
		e.exact = false
		return
	}
	e.text = text
}

func (e *edited) setText(path, v string) {
	b, _ := json.Marshal(v)
	e.set(path, string(b))
}

func (e *edited) delete(path string) {
	if !e.exact {
		return
	}
	text, err := sjson.Delete(e.text, path)
	if e.exact = err == nil && gjson.Valid(text); e.exact {
		e.text = text
	}
}

// farIndex is an index that an array is not made longer for.
var farIndex = regexp.MustCompile(`(^|\.)[0-9]{4,}`)

// edit starts with the draft before a step; what a step with several fields did
// before an error is not looked at.
func edit(s fuzzed) *edited {
	return &edited{s.before, len(s.errors) == 0}
}

func (e *edited) compare(s fuzzed) {
	s.t.Helper()
	if e.exact {
		s.is(doc(s.t, e.text))
	}
}

// FuzzRename compares with sjson, and shows that no value is lost.
func FuzzRename(f *testing.F) {
	f.Add(sampleDraft, "log.a", "log.b", "log.b.x", "")
	f.Add(sampleDraft, "log.b.c.1", "raw", "origin.ip.x", `exists("log.a")`)
	f.Add(sampleDraft, "log.b.d", "@timestamp", "log.n-1", "")
	f.Add(sampleDraft, "log", "log.yes", "log", `log.a == 1`)
	f.Fuzz(func(t *testing.T, text, from1, from2, to, where string) {
		s, ok := runStep(t, &pb.Step{Rename: &pb.Rename{From: []string{from1, from2}, To: to, Where: where}}, where, text, nil)
		if !ok {
			return
		}
		s.kept()
		e := edit(s)
		to = unclean.ReplaceAllString(to, "")
		for _, from := range []string{from1, from2} {
			if from == "" {
				continue
			}
			v := gjson.Result{}
			if from == "@timestamp" {
				v = gjson.Get(e.text, from)
			} else {
				v = e.get(from)
			}
			if !v.Exists() || !e.exact {
				continue
			}
			switch v.Type {
			case gjson.JSON, gjson.Null:
				if v.Type == gjson.Null {
					v.Raw = ""
				}
				e.setText(to, v.Raw)
			default:
				e.set(to, v.Raw)
			}
			if !reserved(from) {
				e.delete(from)
			}
		}
		e.compare(s)
	})
}

// FuzzCast compares with a table of words.
func FuzzCast(f *testing.F) {
	for _, to := range []string{"int", "float", "string", "bool", "[]string"} {
		f.Add(sampleDraft, "log.a", to)
		f.Add(sampleDraft, "log.b.c", to)
		f.Add(sampleDraft, "log.n", to)
		f.Add(`{"log":{"a":"4.5","b":12345678901234567890,"c":"TRUE","d":"-0"}}`, "log.b", to)
	}
	f.Fuzz(func(t *testing.T, text, field, to string) {
		s, ok := runStep(t, &pb.Step{Cast: &pb.Cast{Fields: []string{field}, To: to}}, "", text, nil)
		if !ok {
			return
		}
		s.kept()
		e := edit(s)
		if v := e.get(field); v.Exists() {
			e.set(field, castRaw(v, to))
		}
		if !e.exact {
			return
		}
		// 4.0 and 4 are one number, written in two ways.
		got, want := gjson.Get(s.after, field), gjson.Get(e.text, field)
		if got.Type == gjson.Number && want.Type == gjson.Number && got.Num == want.Num {
			e.set(field, got.Raw)
		}
		e.compare(s)
	})
}

func castRaw(v gjson.Result, to string) string {
	text := v.String()
	if v.Type == gjson.Number {
		text = plainNumber(v)
	}
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	switch to {
	case "int":
		i, err := strconv.ParseInt(text, 10, 64)
		if v.Type == gjson.Number && err != nil && math.Abs(v.Num) < 1<<63 {
			return strconv.FormatInt(int64(v.Num), 10)
		}
		if err != nil || v.Type != gjson.Number && v.Type != gjson.String {
			return "0"
		}
		return strconv.FormatInt(i, 10)
	case "float":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) || v.Type != gjson.Number && v.Type != gjson.String {
			return "0"
		}
		return strconv.FormatFloat(n, 'g', -1, 64)
	case "bool":
		b, _ := strconv.ParseBool(text)
		return strconv.FormatBool(v.Type == gjson.True || v.Type == gjson.String && b || v.Type == gjson.Number && v.Num != 0)
	case "[]string":
		if !v.IsArray() {
			return "[" + quoted(text) + "]"
		}
		raw := "["
		for i, item := range v.Array() {
			if i > 0 {
				raw += ","
			}
			if item.Type == gjson.Number {
				item = gjson.Result{Type: gjson.String, Str: plainNumber(item)}
			}
			raw += quoted(item.String())
		}
		return raw + "]"
	}
	return quoted(text)
}

// plainNumber is a number's text: its digits as they are, or no exponent.
func plainNumber(v gjson.Result) string {
	if digits.MatchString(strings.TrimPrefix(v.Raw, "-")) {
		return v.Raw
	}
	n, err := strconv.ParseFloat(v.Raw, 64)
	if err != nil {
		return v.Raw
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// FuzzTrim compares with the words of the step.
func FuzzTrim(f *testing.F) {
	f.Add(sampleDraft, "log.a", "prefix", "1")
	f.Add(sampleDraft, "log.a", "suffix", "2")
	f.Add(sampleDraft, "log.at", "substring", "0")
	f.Add(sampleDraft, "log.at", "regex", `\d-?`)
	f.Add(sampleDraft, "log.b.c.2", "regex", `{{.word}}|`)
	f.Fuzz(func(t *testing.T, text, field, function, sub string) {
		if len(sub) > 60 || len(text) > 2000 {
			return
		}
		s, ok := runStep(t, &pb.Step{Trim: &pb.Trim{Fields: []string{field}, Function: function, Substring: sub}}, "", text, nil)
		if !ok {
			return
		}
		s.kept()
		e := edit(s)
		v := e.get(field)
		if v.Type == gjson.Number {
			v = gjson.Result{Type: gjson.String, Str: plainNumber(v)}
		}
		if was := v.String(); was != "" {
			was = strings.TrimSpace(was)
			switch function {
			case "prefix":
				was = strings.TrimPrefix(was, sub)
			case "suffix":
				was = strings.TrimSuffix(was, sub)
			case "substring":
				was = strings.ReplaceAll(was, sub, "")
			case "regex":
				expanded, err := pattern.New(nil).Expand(sub)
				if err != nil {
					t.Fatal(err)
				}
				for _, match := range regexp.MustCompile(expanded).FindAllString(was, -1) {
					was = strings.ReplaceAll(was, match, "")
				}
			}
			e.setText(field, strings.TrimSpace(was))
		}
		e.compare(s)
	})
}

// FuzzReformat compares with package time.
func FuzzReformat(f *testing.F) {
	f.Add(sampleDraft, "log.at", "2006-01-02", "02.01.2006")
	f.Add(`{"log":{"at":"23/Sep/2026:14:00:00 +0200"}}`, "log.at", "02/Jan/2006:15:04:05 -0700", time.RFC3339)
	f.Add(sampleDraft, "log.n", "2006", "x")
	f.Fuzz(func(t *testing.T, text, field, from, to string) {
		s, ok := runStep(t, &pb.Step{Reformat: &pb.Reformat{Function: "time", Fields: []string{field}, FromFormat: from, ToFormat: to}}, "", text, nil)
		if !ok {
			return
		}
		s.kept()
		if len(s.errors) > 0 {
			s.is(doc(t, s.before)) // the value is kept
			return
		}
		e := edit(s)
		v := e.get(field)
		if v.Type == gjson.Number {
			v = gjson.Result{Type: gjson.String, Str: plainNumber(v)}
		}
		if v.Exists() {
			at, err := time.Parse(from, v.String())
			if err != nil {
				t.Fatalf("%s is no time: %v", v, err)
			}
			e.setText(field, strings.ToValidUTF8(at.Format(to), "\uFFFD"))
		}
		e.compare(s)
	})
}

// FuzzAdd shows that the value stands where it was put.
func FuzzAdd(f *testing.F) {
	f.Add(sampleDraft, "action", `"get"`, "")
	f.Add(sampleDraft, "log.a.b-c", `1.50`, `equals("log.n", -1000)`)
	f.Add(sampleDraft, "log.b.c.5", `{"x":[null]}`, "")
	f.Add(sampleDraft, "log.b.c.x", `null`, "")
	f.Fuzz(func(t *testing.T, text, key, jsonValue, where string) {
		v := &structpb.Value{}
		if v.UnmarshalJSON([]byte(jsonValue)) != nil {
			v = structpb.NewStringValue(jsonValue)
		}
		s, ok := runStep(t, &pb.Step{Add: &pb.Add{Function: "string", Where: where, Params: map[string]*structpb.Value{
			"key": structpb.NewStringValue(key), "value": v,
		}}}, where, text, nil)
		if !ok {
			return
		}
		s.kept()
		if len(s.errors) > 0 {
			return
		}
		key = unclean.ReplaceAllString(key, "")
		if got := gjson.Get(s.after, key); key != "" && got.Type != gjson.String {
			t.Fatalf("%s holds %s in %s", key, got.Raw, s.after)
		}
		e := edit(s)
		switch v.GetKind().(type) {
		case *structpb.Value_StringValue, *structpb.Value_BoolValue, *structpb.Value_NullValue:
			text := v.GetStringValue()
			if b, ok := v.GetKind().(*structpb.Value_BoolValue); ok {
				text = strconv.FormatBool(b.BoolValue)
			}
			e.setText(key, text)
		default:
			e.setText(key, gjson.Get(s.after, key).Str)
		}
		e.compare(s)
	})
}

// FuzzDelete compares with sjson, and shows that what was deleted is gone.
func FuzzDelete(f *testing.F) {
	f.Add(sampleDraft, "log.a", "log.b.c.0", "")
	f.Add(sampleDraft, "log", "raw", `exists("log.a")`)
	f.Add(sampleDraft, `log.a\.b`, "origin.ip.x", "")
	f.Fuzz(func(t *testing.T, text, field1, field2, where string) {
		s, ok := runStep(t, &pb.Step{Delete: &pb.Delete{Fields: []string{field1, field2}, Where: where}}, where, text, nil)
		if !ok {
			return
		}
		before, after := doc(t, s.before), doc(t, s.after)
		if before["raw"] != nil && after["raw"] == nil {
			t.Fatalf("raw was deleted from %s", s.before)
		}
		refused := field1 == "raw" || field2 == "raw"
		if refused != (len(s.errors) > 0) {
			t.Fatalf("%q", s.errors)
		}
		e := &edited{s.before, true}
		for _, field := range []string{field1, field2} {
			if field == "raw" || field == "" {
				continue
			}
			if e.get(field).Exists() {
				e.delete(field)
			}
		}
		e.compare(s)
	})
}

// FuzzDrop shows that a log is discarded where the condition holds, and only
// there.
func FuzzDrop(f *testing.F) {
	f.Add(sampleDraft, `equals("log.n", -1000)`)
	f.Add(sampleDraft, `log.none == 1`)
	f.Add(sampleDraft, `log.b.c.exists(x, x == 2.5) && regexMatch("log.at", "^2")`)
	f.Add(`{"a":[{"b":1}]}`, `exists("a.#.b") || a[0].b == 1`)
	f.Add(sampleDraft, ``)
	f.Fuzz(func(t *testing.T, text, where string) {
		s, ok := runStep(t, &pb.Step{Drop: &pb.Drop{Where: where}}, where, text, nil)
		if ok && !s.dropped {
			t.Fatalf("%s holds for %s, and the log went on", where, s.before)
		}
	})
}
