package pipeline

import (
	stdcsv "encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

// FuzzJSON compares with setting key by key.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":1,"b.c":{"d e":[1,{"x":null}]},"src-ip":"\u00e9"}`, "")
	f.Add(`{"origin.ip":"1","origin":"2","":3,"a..b.":1.50,"0":-0}`, `exists("raw")`)
	f.Add(`{"a":{"x":1,"x":2},"a!":[],"big":1e400}`, `log.none == 1`)
	f.Add(`[1]`, "")
	f.Fuzz(func(t *testing.T, text, where string) {
		raw, err := json.Marshal(map[string]any{"raw": text, "@timestamp": "T"})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := runStep(t, &pb.Step{Json: &pb.Json{Where: where}}, where, string(raw), nil)
		if !ok {
			return
		}
		s.kept()
		want := doc(t, s.before)
		text = want["raw"].(string)
		object := gjson.Parse(text)
		if !json.Valid([]byte(text)) || !object.IsObject() || depth(text) > 60 {
			if len(s.errors) == 0 && depth(text) <= 60 {
				t.Fatalf("%q is no object, and there is no error", text)
			}
			return
		}
		seen := map[string]bool{}
		exact := true
		object.ForEach(func(key, v gjson.Result) bool {
			name := unclean.ReplaceAllString(key.String(), "")
			exact = exact && !seen[key.String()] && !strings.Contains(key.Raw, `\`) // the place of equal keys is our own
			seen[key.String()] = true
			if name = strings.Trim(name, "."); name != "" {
				exact = exact && put(logOf(want), name, value(t, v.Raw))
			}
			return true
		})
		if exact && len(s.errors) > 0 && len(text) < 1000 && strings.Count(text, ".") < 50 {
			t.Fatalf("%s: %q", text, s.errors)
		}
		if exact && len(s.errors) == 0 {
			s.is(want)
		}
	})
}

// value decodes any JSON as doc does.
func value(t testing.TB, raw string) any { return doc(t, `{"x":`+raw+`}`)["x"] }

// FuzzKV compares with the words of the step.
func FuzzKV(f *testing.F) {
	f.Add(" a=1 b=\"x y\" src-ip=2 d.e=f a=3 none url=http://x?y=z =v", " ", "=", "")
	f.Add("a: 1\u00a0; b :2;;0:x", ";", ":", `exists("log")`)
	f.Add("aXXbXXc", "XX", "b", "")
	f.Fuzz(func(t *testing.T, text, fieldSplit, valueSplit, where string) {
		raw, err := json.Marshal(map[string]any{"raw": text})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := runStep(t, &pb.Step{Kv: &pb.Kv{FieldSplit: fieldSplit, ValueSplit: valueSplit, Where: where}}, where, string(raw), nil)
		if !ok {
			return
		}
		s.kept()
		want := doc(t, s.before)
		exact := true
		for _, piece := range strings.Split(strings.TrimSpace(want["raw"].(string)), fieldSplit) {
			key, v, found := strings.Cut(piece, valueSplit)
			if key = strings.Trim(unclean.ReplaceAllString(key, ""), "."); found && key != "" {
				exact = put(logOf(want), key, strings.TrimSpace(v)) && exact
			}
		}
		switch {
		case len(s.errors) > 0 && exact && strings.Count(text, ".") < 50 && len(text) < 1000:
			t.Fatalf("%q: %q", text, s.errors)
		case exact && len(s.errors) == 0:
			s.is(want)
		}
	})
}

// FuzzCSV compares with encoding/csv where that reads the line, and with plain
// cutting where there are no quotes.
func FuzzCSV(f *testing.F) {
	f.Add("1, two ,3", ",", "log.a", "log.b", "origin.ip")
	f.Add(`"a,""b""",x"y",`, ",", "log.a", "log.b", "log.c")
	f.Add("1||2||3\r\n", "||", "log.a", "log.a.b", "log.c.0")
	f.Add("1;2", ";", "log.a", "log.b", "raw")
	f.Fuzz(func(t *testing.T, text, separator, a, b, c string) {
		raw, err := json.Marshal(map[string]any{"raw": text})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := runStep(t, &pb.Step{Csv: &pb.Csv{Separator: separator, Headers: []string{a, b, c}}}, "", string(raw), nil)
		if !ok {
			return
		}
		s.kept()
		want := doc(t, s.before)
		line := want["raw"].(string)
		if separator == "" {
			separator = ","
		}
		var columns []string
		if !strings.Contains(line, `"`) {
			columns = strings.Split(strings.TrimRight(line, "\r\n"), separator)
		} else if runes := []rune(separator); len(runes) == 1 && !strings.ContainsAny(line, "\r\n") {
			r := stdcsv.NewReader(strings.NewReader(line))
			r.Comma = runes[0]
			if columns, err = r.Read(); err != nil {
				return
			}
		} else {
			return
		}
		if len(columns) != 3 {
			if len(s.errors) == 0 || s.before != s.after {
				t.Fatalf("%d columns, and %s became %s with %q", len(columns), s.before, s.after, s.errors)
			}
			return
		}
		exact := len(s.errors) == 0
		for i, header := range []string{a, b, c} {
			exact = exact && plainPath.MatchString(unclean.ReplaceAllString(header, "")) && put(want, unclean.ReplaceAllString(header, ""), columns[i])
		}
		if exact {
			s.is(want)
		}
	})
}

// anElement is an element as encoding/xml gives it, to be mapped naively.
type anElement struct {
	XMLName xml.Name
	Attrs   []xml.Attr  `xml:",any,attr"`
	Kids    []anElement `xml:",any"`
	Text    string      `xml:",chardata"`
}

func (e anElement) asJSON() any {
	fields := map[string][]any{}
	add := func(n xml.Name, v any) {
		name := elementName(n)
		fields[name] = append(fields[name], v)
	}
	for _, a := range e.Attrs {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			add(a.Name, a.Value)
		}
	}
	for _, kid := range e.Kids {
		add(kid.XMLName, kid.asJSON())
	}
	text := strings.TrimSpace(e.Text)
	if len(fields) == 0 {
		return text
	}
	out := map[string]any{}
	for name, values := range fields {
		if out[name] = any(values); len(values) == 1 {
			out[name] = values[0]
		}
	}
	if text != "" && out["content"] == nil {
		out["content"] = text
	}
	return out
}

func elementName(n xml.Name) string {
	if name := strings.ReplaceAll(unclean.ReplaceAllString(n.Local, ""), ".", ""); name != "" {
		return name
	}
	return "element"
}

// FuzzXML compares with the mapping done on what xml.Unmarshal gives.
func FuzzXML(f *testing.F) {
	f.Add(`<?xml version="1.0"?><Event xmlns="http://x"><System><EventID Q="16">4624</EventID><n/></System><D N="a">1</D><D/>tail</Event>`)
	f.Add(`<a b="1"><b>x</b><content>y</content>text &amp; <![CDATA[<z>]]></a>`)
	f.Add(`<x:a-b xmlns:x="u" x:c.d="e"/>`)
	f.Add(`<a><b></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal(map[string]any{"raw": text})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := runStep(t, &pb.Step{Xml: &pb.Xml{}}, "", string(raw), nil)
		if !ok {
			return
		}
		s.kept()
		if len(s.errors) > 0 {
			if s.after != s.before {
				t.Fatalf("%s became %s with %q", s.before, s.after, s.errors)
			}
			return
		}
		want := doc(t, s.before)
		var root anElement
		dec := xml.NewDecoder(strings.NewReader(want["raw"].(string)))
		dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
		if err := dec.Decode(&root); err != nil {
			t.Fatalf("%q: we read it, encoding/xml says %v", text, err)
		}
		logOf(want)[elementName(root.XMLName)] = root.asJSON()
		if got := doc(t, s.after); !reflect.DeepEqual(got, doc(t, jsonOf(t, want))) {
			t.Fatalf("%q became\n%s\nwant\n%s", text, s.after, jsonOf(t, want))
		}
	})
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzGrok compares with the rule as it is worded.
func FuzzGrok(f *testing.F) {
	f.Add("a b c", `\w+`, "log.a", `.+`, "log.b", "")
	f.Add(" 1.2.3.4 x y ", `{{.ipv4}}`, "origin.ip", `{{.word}}$`, "", `contains("raw", "x")`)
	f.Add("x y x", `x$`, "log.a", `.*?y`, "log.a", "")
	f.Add("a\u00a0\vb\nc", `(a)`, "log.a-b", `.`, "@timestamp", "")
	f.Fuzz(func(t *testing.T, text, p, nameP, q, nameQ, where string) {
		if len(p) > 60 || len(q) > 60 || len(text) > 200 {
			return
		}
		raw, err := json.Marshal(map[string]any{"raw": text})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := runStep(t, &pb.Step{Grok: &pb.Grok{Where: where, Patterns: []*pb.Pattern{
			{FieldName: nameP, Pattern: p}, {FieldName: nameQ, Pattern: q},
		}}}, where, string(raw), nil)
		if !ok {
			return
		}
		s.kept()
		want := doc(t, s.before)
		rest := want["raw"].(string)
		var values []string
		for _, text := range []string{p, q} {
			if text, err = pattern.New(nil).Expand(text); err != nil {
				t.Fatal(err)
			}
			rest = strings.TrimSpace(rest)
			n := naive(text, rest)
			if n == 0 {
				s.is(want)
				return
			}
			values = append(values, strings.TrimSpace(rest[:n]))
			rest = rest[n:]
		}
		for i, name := range []string{nameP, nameQ} {
			name = unclean.ReplaceAllString(name, "")
			if i == 0 && name == unclean.ReplaceAllString(nameQ, "") {
				continue
			}
			if name != "" && (!plainPath.MatchString(name) || !put(want, name, values[i])) {
				return
			}
		}
		s.is(want)
	})
}
