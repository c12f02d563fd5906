package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/node/pattern"
	"github.com/google/go-cmp/cmp"
)

func TestAnalyzeFindings(t *testing.T) {
	for _, test := range []struct {
		source string
		want   []string // kind@what stands there
	}{
		{`equals("a", "x") && exists("b")`, nil},
		{`equals("a", "x") && equals("a", "y")`, []string{`always-false@"a", "y")`}},
		{`equals("a", 4) && equals("a", "04")`, nil},
		{`equals("a", "Inf") && equals("a", "1e400")`, nil}, // both hold for the number 1e400
		{`equals("a", 4) && equals("a", 5)`, []string{`always-false@"a", 5)`}},
		{`equals("a", 4) && contains("a", "0")`, nil},
		{`equals("a", "x") && contains("a", "y")`, []string{`always-false@"a", "y")`}},
		{`equals("a", "x") && !equals("a", "x")`, []string{`always-false@"a", "x")`}},
		{`equals("a", true) && equals("a", "true")`, nil},
		{`equals("a", true) && equals("a", "yes")`, []string{`always-false@"a", "yes")`}},
		{`exists("a") && !exists("a")`, []string{`always-false@"a")`}},
		{`!exists("a") && equals("a", "x")`, []string{`always-false@"a", "x")`}},
		{`!exists("a") && !equals("a", "x")`, nil},
		{`oneOf("a", ["x", "y"]) && oneOf("a", ["z"])`, []string{`always-false@"a", ["z"])`}},
		{`oneOf("a", ["x", "y"]) && regexMatch("a", "^y")`, nil},
		{`lessThan("a", 3) && greaterThan("a", 5)`, []string{`always-false@"a", 5)`}},
		{`lessOrEqual("a", 3) && greaterOrEqual("a", 3)`, nil},
		{`lessThan("a", 3) && greaterOrEqual("a", 3)`, []string{`always-false@"a", 3)`}},
		{`equals("a", 7) && lessThan("a", 3)`, []string{`always-false@"a", 3)`}},
		{`safe("a", 0.0) > 5.0 && safe("a", 0.0) < 3.0`, []string{`always-false@"a", 0.0) < 3.0`}},
		{`safe("a", 4.0) > 5.0 && safe("a", 0.0) < 3.0`, []string{`always-false@"a", 0.0) < 3.0`}},
		{`safe("a", 6.0) > 5.0 && safe("a", 0.0) < 3.0`, nil}, // missing
		{`safe("a", "") == "x" && safe("a", "") == "y"`, []string{`always-false@"a", "") == "y"`}},
		{`safe("a", "x") == "x" && safe("a", "y") == "y"`, nil},
		{`safe("a", "") in ["x", "y"] && equals("a", "z")`, []string{`always-false@"a", "z")`}},
		{`startsWith("a", "x") && startsWith("a", "xy") && startsWith("a", "z")`, []string{`always-false@"a", "z")`}},
		{`endsWith("a", "x") && endsWith("a", "zx")`, nil},
		{`!equals("a", "x") || !equals("a", "y")`, []string{`always-true@"a", "y")`}},
		{`exists("a") || !exists("a")`, []string{`always-true@"a")`}},
		{`exists("b") || (equals("a", "x") && equals("a", "y"))`, []string{`dead-condition@"a", "y"))`}},
		{`!(exists("b") && (equals("a", "x") && equals("a", "y")))`, []string{`always-true@"a", "y")))`}},
		{`equals("a", "NaN") && equals("a", "x")`, []string{`always-false@"a", "x")`}},
		{`equals("a", "1e400") && startsWith("a", "1e4")`, nil},
		{`true`, nil},
		{`log.x == 1 && log.x == 2`, nil}, // not understood
		{`oneOf("a", [])`, []string{`bad-argument@[])`}},
		{`containsAll("a", [])`, []string{`bad-argument@[])`}},
		{`contains("a", "")`, []string{`bad-argument@"")`}},
		{`contains("a", ["x", " "])`, []string{`bad-argument@" "])`}},
		{`oneOf("a", ["x", "y", "x"])`, []string{`duplicate-value@"x"])`}},
		{`oneOf("a", [1, 2, 1])`, []string{`duplicate-value@1])`}},
		{`lessThan("a", "ten")`, []string{`bad-argument@"ten")`}},
		{`isHour("a", 24)`, []string{`bad-argument@24)`}},
		{`isDayOfWeek("a", 7)`, []string{`bad-argument@7)`}},
		{`isBetweenTime("a", "8", "09:00")`, []string{`bad-argument@"8", "09:00")`}},
		{`inCIDR("a", "192.0.2.1")`, []string{`bad-argument@"192.0.2.1")`}},
		{`inCIDR("a", "192.0.2.0/33")`, []string{`bad-argument@"192.0.2.0/33")`}},
		{`regexMatch("a", "(")`, []string{`bad-regexp@"(")`}},
		{`regexMatch("a", "{{.nosuch}}")`, []string{`unknown-pattern@"{{.nosuch}}")`}},
		{`regexMatch("a", "{{.ipv4}}")`, nil},
		{`regexMatch("a", "one|two|")`, []string{`matches-everything@"one|two|")`}},
		{`regexMatch("a", "^(x|y)?$")`, nil},
		{`regexMatch("a", "C:\\Windows\\System32")`, []string{`path-escape@"C:\\Windows\\System32")`}},
		{`regexMatch("a", "C:\\\\Windows\\\\System32")`, nil},
		{`regexMatch("a", "\\bword\\s+\\d+")`, nil},
		{`regexMatch("a", "C:\\Users\\.*")`, []string{`bad-regexp@"C:\\Users\\.*")`}},
		{`safe(origin.geolocation.country, "") != "x"`, []string{`path-not-quoted@origin.geolocation.country, "") != "x"`}},
		{`exists("")`, []string{`bad-argument@"")`}},
		{"exists(\"ä\") &&\n  lessThan(\"ö\", \"ü\")", []string{`bad-argument@"ü")`}},
	} {
		a, err := Analyze(test.source, pattern.New(nil))
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		var got []string
		for _, f := range a.Findings {
			got = append(got, f.Kind+"@"+test.source[f.Offset:])
			if f.Message == "" {
				t.Errorf("%s: a finding without words", test.source)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.source, diff)
		}
	}
}

func TestAnalyzeReads(t *testing.T) {
	source := `exists("log.a") && log.b.c == 1 && [1, 2].all(x, x > 0) && contains("log.d", [log.e]) && has(log.f) && string(origin.port) == "1"`
	a, err := Analyze(source, pattern.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range a.Reads {
		if !strings.HasPrefix(strings.TrimPrefix(source[r.Offset:], `"`), r.Path) {
			t.Errorf("%s is not at %q", r.Path, source[r.Offset:])
		}
		got = append(got, r.Path)
	}
	if diff := cmp.Diff([]string{"log.a", "log.b.c", "log.d", "log.e", "log.f", "origin.port"}, got); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
}

func TestAnalyzeError(t *testing.T) {
	for source, want := range map[string]string{
		"":                                "",
		"exists(":                         "1:8",
		"exists(\"a\") &&\n exits(\"b\")": "2:7",
		`contains("a", 3)`:                "1:9",
	} {
		_, err := Analyze(source, pattern.New(nil))
		syntax, ok := err.(*SyntaxError)
		got := ""
		if ok {
			got = fmt.Sprintf("%d:%d", syntax.Faults[0].Line, syntax.Faults[0].Column)
		}
		if err == nil || got != want {
			t.Errorf("%q: %v at %s, want %s", source, err, got, want)
		}
	}
	if got := SourceOffset("a\nöb", 2, 2); got != 4 {
		t.Errorf("offset %d, want 4", got)
	}
}

func TestMayHoldWithout(t *testing.T) {
	for _, test := range []struct {
		source string
		want   bool
	}{
		{`exists("a")`, false},
		{`exists("b")`, true},
		{`exists("b") && equals("a", "x")`, false},
		{`exists("b") || equals("a", "x")`, true},
		{`!equals("a", "x")`, true},
		{`safe("a", "") != "x"`, true},
		{`safe("a", "") == "x"`, false},
		{`a.b == 1`, true},
	} {
		a, err := Analyze(test.source, pattern.New(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.MayHoldWithout(func(p string) bool { return p == "a" }); got != test.want {
			t.Errorf("%s: %t", test.source, got)
		}
	}
}

// What is called always false is false for every document, and the other way
// round; nothing takes long.
func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{
		`equals("n", 4) && oneOf("n", [4, "x"])`, `!(startsWith("text", "H") || lessThan("n", 4))`, `safe("n", 3.0) >= 4.0 && !equals("s", "04")`,
		`equals("yes", true) && equals("yes", "true")`, `equals("nil", "") && exists("nil")`, `equals("big", "1e400")`,
		`oneOf("text", ["Hello World", "x"]) && regexMatch("text", "o W")`, `safe("log.none", "d") == "d" && !exists("log.none")`,
	} {
		f.Add(s)
	}
	d, err := FromJSON([]byte(doc))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 2000 {
			return
		}
		p, err := Compile(source, nil)
		a, err2 := Analyze(source, pattern.New(nil))
		if (err == nil) != (err2 == nil) && err2 != nil {
			t.Fatalf("compiles with %v, is analysed with %v", err, err2)
		}
		if err != nil {
			return
		}
		holds, err := p.Eval(d)
		if err != nil {
			return
		}
		for _, found := range a.Findings {
			if found.Offset > len(source) {
				t.Errorf("a finding beyond the end: %+v", found)
			}
			if found.Kind == AlwaysFalse && holds || found.Kind == AlwaysTrue && !holds {
				t.Errorf("%s: %+v, but it is %t", source, found, holds)
			}
		}
		missing := func(path string) bool { return path == "log.none" }
		if holds && !a.MayHoldWithout(missing) {
			t.Errorf("%s holds without log.none", source)
		}
	})
}

// A regular expression that gives up on a constant leaves open what is so.
func TestAnalyzeSlowRegexp(t *testing.T) {
	a, err := Analyze(`equals("a", "`+strings.Repeat("x", 60_000)+`") && regexMatch("a", "[^=]*(?:\\w\\s?\\w?){1,900}[=#]")`, pattern.New(nil))
	if err != nil || len(a.Findings) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
}
