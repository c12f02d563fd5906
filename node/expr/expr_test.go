package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/node/tree"
)

const doc = `{"@timestamp":"2026-09-23T14:05:00+02:00","raw":"x","protocol":"TCP","n":4,"f":4.5,"s":"04",
"text":"Hello World","ip":"198.51.100.7","v6":"2001:db8::5","yes":true,"nil":null,"empty":"","nan":"NaN","big":1e400,
"list":["a",7],"log":{"port":"443","user":"alice","deep":{"x":[{"y":2}]},"night":"2026-09-26T23:45:00Z"},
"statusCode":204}`

func TestFunctions(t *testing.T) {
	for _, tt := range []struct {
		source string
		want   bool
	}{
		{`exists("log.user")`, true},
		{`exists("log.none")`, false},
		{`exists("nil")`, true},
		{`exists("log.deep.x.0.y")`, true},
		{`exists("list.2")`, false},
		{`exists("@timestamp")`, true},

		{`safe("log.user", "none") == "alice"`, true},
		{`safe("log.none", "none") == "none"`, true},
		{`safe("n", "none") == "none"`, true},
		{`safe("s", 1.0) == 4.0`, true},
		{`safe("text", 1.0) == 1.0`, true},
		{`safe("yes", false)`, true},
		{`safe("log.none", true)`, true},
		{`safe("n", 0) == 4`, true},
		{`safe("log.user", "") in ["bob", "alice"]`, true},
		{`safe("log.none", "") != "x"`, true},
		{`safe("statusCode", 0.0) >= double(200) && safe("statusCode", 0.0) <= double(299)`, true},
		{`safe("nil", "d") == "d"`, true},

		{`equals("n", 4)`, true},
		{`equals("s", 4)`, true},
		{`equals("s", "4.0")`, true},
		{`equals("n", "4")`, true},
		{`equals("n", 4.5)`, false},
		{`equals("protocol", "TCP")`, true},
		{`equals("protocol", "tcp")`, false},
		{`equals("yes", true)`, true},
		{`equals("yes", "true")`, true},
		{`equals("yes", 1)`, false},
		{`equals("nil", "")`, true},
		{`equals("nil", "null")`, false},
		{`equals("nil", 0)`, false},
		{`equals("empty", "")`, true},
		{`equals("none", "")`, false},
		{`equals("nan", "NaN")`, false},
		{`equals("big", "1e400")`, true},
		{`equals("log", "{}")`, false},
		{`equals("list", "a")`, false},

		{`oneOf("protocol", ["UDP", "TCP"])`, true},
		{`oneOf("s", [3, 4])`, true},
		{`oneOf("n", ["x", 4.0, true])`, true},
		{`oneOf("yes", [true])`, true},
		{`oneOf("n", [])`, false},
		{`oneOf("none", [""])`, false},
		{`oneOf("s", [1,2,3,4,5,6,7,8,9,10])`, true},
		{`oneOf("protocol", ["a","b","c","d","e","f","g","h","i","TCP"])`, true},
		{`oneOf("log", ["a"])`, false},

		{`equalsIgnoreCase("protocol", "tcp")`, true},
		{`equalsIgnoreCase("n", "4")`, false},
		{`contains("text", "lo W")`, true},
		{`contains("text", [" World ", "x"])`, true},
		{`contains("text", " World ")`, false},
		{`contains("text", [])`, false},
		{`contains("log", "user")`, false},
		{`containsAll("text", ["Hello", " World"])`, true},
		{`containsAll("text", ["Hello", "x"])`, false},
		{`containsAll("text", [])`, true},
		{`startsWith("text", "Hello")`, true},
		{`startsWith("text", ["x", "He"])`, true},
		{`startsWith("empty", "")`, true},
		{`endsWith("text", ["x", "ld"])`, true},
		{`endsWith("text", "Hello")`, false},
		{`regexMatch("text", "o.W")`, true},
		{`regexMatch("text", "^World")`, false},
		{`regexMatch("ip", "^{{.ipv4}}$")`, true},
		{`regexMatch("text", "{{.mine}}")`, true},
		{`regexMatch("text", "[")`, false},
		{`regexMatch("text", "{{.nope}}")`, false},
		{`regexMatch("n", "4")`, false},
		{`inCIDR("ip", "198.51.100.0/24")`, true},
		{`inCIDR("ip", "10.0.0.0/8")`, false},
		{`inCIDR("ip", "::ffff:198.51.100.0/120")`, true},
		{`inCIDR("ip", "::/0")`, false},
		{`inCIDR("v6", "2001:db8::/32")`, true},
		{`inCIDR("text", "0.0.0.0/0")`, false},
		{`inCIDR("ip", "bad")`, false},

		{`lessThan("n", 5)`, true},
		{`lessThan("s", "4.5")`, true},
		{`lessThan("text", 5)`, false},
		{`lessThan("n", "x")`, false},
		{`greaterThan("f", 4)`, true},
		{`lessOrEqual("n", 4.0)`, true},
		{`greaterOrEqual("log.port", 443)`, true},
		{`greaterOrEqual("none", 0)`, false},

		{`isHour("@timestamp", 14)`, true},
		{`isMinute("@timestamp", 5)`, true},
		{`isDayOfWeek("@timestamp", 3)`, true},
		{`isWorkDay("@timestamp")`, true},
		{`isWeekend("@timestamp")`, false},
		{`isWeekend("log.night")`, true},
		{`isWorkDay("text")`, false},
		{`isHour("text", 0)`, false},
		{`isBetweenTime("@timestamp", "14:05", "15:00")`, true},
		{`isBetweenTime("@timestamp", "13:00", "14:05")`, true},
		{`isBetweenTime("@timestamp", "14:06", "15:00")`, false},
		{`isBetweenTime("log.night", "22:00", "06:00")`, true},
		{`isBetweenTime("@timestamp", "22:00", "06:00")`, false},
		{`isBetweenTime("@timestamp", "x", "06:00")`, false},

		{`log.port == "443"`, true},
		{`n == 4 && f > 4`, true},
		{`protocol == "TCP" && exists("log.user")`, true},
		{`has(log.user) && !has(log.none)`, true},
		{`log.deep.x[0].y == 2`, true},
		{`log.deep.x.exists(i, i.y == 2)`, true},
		{`log.user.contains("lic") && text.startsWith("He")`, true},
		{`text.matches("o.W") && !text.matches("^W")`, true},
		{`matches(text, "o.W")`, true},
		{`["x", "o.W"].exists(re, text.matches(re))`, true},
		{`size(log) == 4`, true},
		{`"user" in log`, true},
		{`log.all(k, k != "none")`, true},
		{`log == log`, true},
		{`equals("log." + "user", "alice")`, true},
		{`equals("log.user", log.user)`, true},
		{`regexMatch("text", protocol + "|World")`, true},
		{`oneOf("n", [n])`, true},
		{`nil == null`, true},
		{`true || log.none == 1`, true},
		{`"text"`, false},
		{`n`, false},
		{`!(equals("n", 5) || exists("none")) && true`, true},
		{`exists("n") ? exists("none") : true`, false},
	} {
		p, err := Compile(tt.source, map[string]string{"mine": "H.llo"})
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		d, err := FromJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Eval(d)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v", tt.source, got, err)
		}
		if got, err := p.interpret(d); err != nil || got != tt.want {
			t.Errorf("%s by CEL: %v, %v", tt.source, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	d, _ := FromJSON([]byte(doc))
	for _, tt := range []struct{ source, err string }{
		{``, "empty"},
		{`exists(`, "Syntax error"},
		{`exists("a"`, "1:"},
		{`exists(1)`, "no matching overload for 'exists' applied to '(int)'"},
		{`equals("a")`, "no matching overload for 'equals' applied to '(string)'"},
		{`unknown("a")`, "undeclared reference to 'unknown'"},
		{`"` + strings.Repeat("x", 70_000) + `"`, "longer than"},
		{strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), "recursion"},
		{strings.Repeat("!", 5000) + "true", ""},
		{"\xff", "expression"},
		{`log.none == 1`, "no such key"},
		{`log.user.matches("(")`, "missing closing"},
		{`matches(1, "x")`, "no matching overload for 'matches' applied to '(int, string)'"},
		{`n.matches("x")`, "no such overload"},
		{`absent == 1`, "no such attribute"},
		{`log.user + 1 == 2`, "no such overload"},
		{`[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, [0,1,2,3,4,5,6,7,8,9].all(g, a+b+c+d+e+f+g >= 0)))))))`, "cost limit"},
	} {
		p, err := Compile(tt.source, nil)
		if err == nil {
			_, err = p.Eval(d)
		}
		if err == nil && tt.err != "" || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.60s: %v, want %q", tt.source, err, tt.err)
		}
	}
}

func TestWarnings(t *testing.T) {
	for source, want := range map[string]int{
		`regexMatch("a", "[") || inCIDR("a", "x")`: 2,
		`isBetweenTime("a", "25:00", "10:00")`:     1,
		`exists("a")`:                              0,
	} {
		p, err := Compile(source, nil)
		if err != nil || len(p.Warnings()) != want {
			t.Errorf("%s: %q, %v", source, p.Warnings(), err)
		}
	}
}

// TestMergedEqualities shows that equalities asked together answer as they do
// one by one.
func TestMergedEqualities(t *testing.T) {
	d, _ := FromJSON([]byte(doc))
	for _, source := range []string{
		`equals("n", 3) || equals("n", 4)`,
		`equals("n", 3) || equals("s", 4) || equals("s", "x") || oneOf("s", ["y", 5])`,
		`equals("n", 3) || exists("none") || equals("n", "4")`,
		`equals("n", 3) || (equals("n", 5) || equals("n", 4))`,
		`(equals("n", 3) || equals("n", 5)) && equals("n", 4)`,
		`oneOf("n", [1,2,3,5,6,7,8]) || oneOf("n", ["x", 4]) || equals("n", 9)`,
	} {
		p, err := Compile(source, nil)
		if err != nil || p.fast == nil {
			t.Fatalf("%s: %v", source, err)
		}
		agree(t, p, d)
	}
	p, _ := Compile(`equals("n", 3) || equals("n", 4) || equals("n", 5)`, nil)
	if l, ok := p.fast.(*lookup); !ok || len(l.equal) != 3 {
		t.Errorf("%T", p.fast)
	}
}

// FuzzCompile compiles whatever comes; where there is a fast path it must
// agree with CEL.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`equals("n", 4) && !exists("x")`, `oneOf("s", [1, "4", true]) || safe("f", 0.0) > 1.0`,
		`regexMatch("text", "o.W")`, `log.all(k, k != "")`, `contains("text", ["a", "b"]) ? true : exists("list.#")`,
	} {
		f.Add(s, doc)
	}
	f.Fuzz(func(t *testing.T, source, doc string) {
		d, err := FromJSON([]byte(doc))
		if err != nil {
			return
		}
		p, err := Compile(source, nil)
		if err != nil {
			return
		}
		agree(t, p, d)
	})
}

func agree(t testing.TB, p *Program, d Doc) {
	t.Helper()
	got, gotErr := p.Eval(d)
	want, wantErr := p.interpret(d)
	if p.fast != nil && wantErr != nil && strings.Contains(wantErr.Error(), "cost limit") {
		return
	}
	if got != want || (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%s: %v, %v; CEL says %v, %v", p.source, got, gotErr, want, wantErr)
	}
}

// TestAgree tries every function with every kind of field and constant on both
// ways of evaluation.
func TestAgree(t *testing.T) {
	d, _ := FromJSON([]byte(doc))
	consts := []string{`"4"`, `""`, `"TCP"`, `4`, `-1`, `4.5`, `true`, `"NaN"`, `"true"`, `["4","",true,4.0]`, `["TCP"]`, `"o"`, `"198.51.100.0/24"`, `"1e400"`}
	for _, f := range functions {
		for _, path := range []string{"n", "f", "s", "text", "ip", "yes", "nil", "empty", "nan", "big", "list", "log", "none", "protocol", "@timestamp"} {
			calls := []string{fmt.Sprintf("%s(%q)", f.name, path)}
			for _, c := range consts {
				calls = append(calls, fmt.Sprintf("%s(%q, %s)", f.name, path, c))
				for _, op := range []string{"==", "!=", "<", ">=", "in"} {
					for _, other := range consts[:5] {
						calls = append(calls, fmt.Sprintf("safe(%q, %s) %s %s", path, c, op, other))
					}
				}
			}
			if f.name != "safe" {
				calls = calls[:1]
				for _, c := range consts {
					calls = append(calls, fmt.Sprintf("%s(%q, %s)", f.name, path, c))
				}
			}
			for _, call := range calls {
				if p, err := Compile(call, nil); err == nil {
					agree(t, p, d)
				}
			}
		}
	}
}

func TestFastPath(t *testing.T) {
	for source, want := range map[string]bool{
		`equals("log.messageId", 106001)`:                                                           true,
		`exists("a") && (equals("b", "c") || !oneOf("d", [1, "x", 2.0]))`:                           true,
		`safe("a", "") == "x" || safe("b", 0.0) >= double(200)`:                                     true,
		`safe("log.severityLabel", "") in ["critical", "alert"]`:                                    true,
		`regexMatch("a", "x") && inCIDR("b", "10.0.0.0/8") && isBetweenTime("c", "10:00", "11:00")`: true,
		`log.x == 1`: false,
	} {
		p, err := Compile(source, nil)
		if err != nil || (p.fast != nil) != want {
			t.Errorf("%s: fast %v, %v", source, p.fast != nil, err)
		}
	}
}

func bench(b *testing.B, source string, d Doc, slow bool) {
	p, err := Compile(source, nil)
	if err != nil {
		b.Fatal(err)
	}
	if slow {
		p.fast = nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Eval(d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	d, _ := FromJSON([]byte(doc))
	for name, source := range map[string]string{
		"exists": `exists("log.none")`, "equalsNumber": `equals("n", 106001)`, "equalsText": `equals("protocol", "UDP")`,
		"and": `exists("log.user") && equals("log.user", "bob")`, "oneOf": `oneOf("log.user", ["a","b","c"])`,
	} {
		b.Run(name, func(b *testing.B) { bench(b, source, d, false) })
		b.Run(name+"/cel", func(b *testing.B) { bench(b, source, d, true) })
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(`equals("log.messageId", 106001) || exists("log.x")`, nil); err != nil {
			b.Fatal(err)
		}
	}
}

var _ Doc = (*tree.Tree)(nil)

// Arguments that come from documents are kept up to a bound, however many come.
func TestCacheIsBounded(t *testing.T) {
	p, err := Compile(`regexMatch(log.path, log.re) && "x".matches(log.re)`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 * maxCached {
		d, err := FromJSON(fmt.Appendf(nil, `{"log":{"path":"p%d","re":"x(%d)?"},"p%d":"x"}`, i, i, i))
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Eval(d); !ok || err != nil {
			t.Fatalf("%d: %t, %v", i, ok, err)
		}
	}
	kept := 0
	count := func(any, any) bool { kept++; return true }
	p.paths.Range(count)
	p.tests.Range(count)
	if kept != maxCached || p.size.Load() > maxCached {
		t.Errorf("%d are kept, %d counted", kept, p.size.Load())
	}
}

// What time.Parse reads is a time, also an hour of one digit.
func TestShortHour(t *testing.T) {
	d, err := FromJSON([]byte(`{"at":"2026-01-02T5:04:05Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(`isHour("at", 5) && isBetweenTime("at", "05:04", "05:04")`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Eval(d); !ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
}
