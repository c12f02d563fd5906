package pattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// compare asks Start and Search what they say, and regexp.
func compare(t interface{ Fatalf(string, ...any) }, expression, text string) (tables int) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return 0
	}
	search, err := New(nil).Search(expression)
	if err != nil {
		return 0
	}
	if got, want := search.Match(text), re.MatchString(text); got != want {
		t.Fatalf("search %q in %q: %v, want %v; needs %q", expression, text, got, want, search.needs)
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		t.Fatalf("%q: %v", expression, err)
	}
	start, err := NewStart(parsed)
	if err != nil {
		return 0
	}
	anchored, err := regexp.Compile(`\A(?:` + expression + `)`)
	if err != nil { // \Q takes the bracket too
		return 0
	}
	want := -1
	if at := anchored.FindStringIndex(text); at != nil {
		want = at[1]
	}
	if got := start.Match(text); got != want {
		t.Fatalf("%q at the start of %q: %d, want %d", expression, text, got, want)
	}
	if start.table != nil {
		tables++
	}
	if search.table != nil {
		tables++
	}
	return tables
}

func TestMatchRandom(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"a", "b", " ", "ab", ".", ".*", ".*?", "a*", "a*?", "b+", "b+?", "(a|b)", "(a|)", "(|a)", "(a|ab)", "(ab|a)", "^", "$", `\b`, `\B`, `\A`, `\z`,
		"(?i)A", "(?s).", "(?m)^", "(?m)$", `\w+`, `\W`, `\s`, `\S+`, `\d`, "[ab]{1,2}?", "[^a]", "(a*)+", "(a|b){2,3}", "(a?b?)*", "(?:a$|b)", "|", "é", "[^é]", "(?U)a+", "(?i)k", "\n",
		"(?:^|a)", "(?:a|b$)", "(?:ab|ba|aa)", "(?i:ab)", "(abc|abd)", "\uFFFD", `\x{D800}`, `\PL`, `(?i)s`, `[^\x00-\x7f]`,
	})
	tables, all := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		expression := strings.Join(rapid.SliceOfN(piece, 1, 6).Draw(r, "expression"), "")
		for range 5 {
			text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "A", "k", "K", " ", "_", "1", "é", "\u212a", "\n", "\x80", "\xff", "\xe2\x82", "\uFFFD", "abab"}), 0, 10).Draw(r, "text"), "")
			tables += compare(r, expression, text)
			all += 2
		}
	})
	if tables < all/2 {
		t.Errorf("only %d of %d were matched by tables: this shows little", tables, all)
	}
}

func FuzzMatch(f *testing.F) {
	for _, expression := range []string{`\b\w+\b`, `^.*?x$`, `(a|ab)(c|bcd)(d*)`, `(.+),(x|\w+),(.+)(tcp|TCP)`, `(?i)k\x{212a}`, builtin["uuid"], builtin["day"]} {
		f.Add(expression, "ab cd, x,abcd tcp")
	}
	f.Fuzz(func(t *testing.T, expression, text string) {
		if len(expression) > 100 || len(text) > 300 || strings.Contains(expression, "{{") {
			return
		}
		compare(t, expression, text)
	})
}

// TestBuiltinMatch gives all patterns what they take and what they do not.
func TestBuiltinMatch(t *testing.T) {
	set := New(nil)
	texts := []string{
		"", "x", "-12 a", "198.51.100.7:443", "256.1.1.1", "2001:db8::5", "::ffff:192.0.2.1", "www.example.net.", "a@b.example", "8f14e45f-ceea-467f-a8f4-1d0c7a8c1d2e",
		"14:00:00.123", "Sep 23 14:00:00 host", "Monday", "00:11:22:33:44:55", "00-11-22-33-44-55", "0011.2233.4455", "2026-09-23T14:00:00Z", "+02:00", "  word", "é ü", "\xff",
	}
	for _, name := range set.Names() {
		expression, err := set.Expand("{{." + name + "}}")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			compare(t, expression, text)
			compare(t, expression+`\s`, text+" ")
			compare(t, `\[`+expression+`\]`, "["+text+"]")
		}
	}
}

func TestNeeds(t *testing.T) {
	for expression, want := range map[string]string{
		`Trojan [A-Z]+`:                       `[["Trojan "]]`,
		`.*"type"\s*:\s*"stats".*`:            `[["\"stats\""] ["\"type\""] [":"]]`,
		`(.+),(block|pass),(tcp|TCP|Tcp)$`:    `[["block" "pass"] ["tcp" "CP" "cp"] [","]]`,
		`a|`:                                  `[]`,
		`(?i)abc`:                             `[]`,
		`x*`:                                  `[]`,
		`(abc)+d{2}`:                          `[["abc"] ["d"]]`,
		"\uFFFD":                              `[]`,
		`\x{D800}`:                            `[]`,
		`one|two|three|four|five|six|7|8|9|0`: `[]`,
	} {
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%q", [][]string(needsOf(parsed))); got != want {
			t.Errorf("%s needs %s, want %s", expression, got, want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct{ name, expression, text string }{
		{"integer", "{{.integer}}", "51234 bytes"},
		{"ipv4", "{{.ipv4}}", "198.51.100.7:443"},
		{"word", "{{.word}}", "permitted by rule"},
		{"notSpace", "{{.notSpace}}", "inside:198.51.100.7/443 to outside"},
		{"bracketed", `\[[^\]]+\]`, "[23/Sep/2026:14:00:00 +0000] x"},
		{"syslogDate", "{{.syslogDate}}", "Sep 23 14:00:00 host"},
		{"hostname", "{{.hostname}}", "www.example.net port"},
	} {
		text, err := New(nil).Expand(bench.expression)
		if err != nil {
			b.Fatal(err)
		}
		parsed, _ := syntax.Parse(text, syntax.Perl)
		start, err := NewStart(parsed)
		if err != nil {
			b.Fatal(err)
		}
		re := regexp.MustCompile(`\A(?:` + text + `)`)
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				if start.Match(bench.text) <= 0 {
					b.Fatal()
				}
			}
		})
		b.Run(bench.name+"/regexp", func(b *testing.B) {
			for b.Loop() {
				if re.FindStringIndex(bench.text) == nil {
					b.Fatal()
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, name := range []string{"integer", "ipv4", "ipv6", "hostname", "domain", "syslogDate"} {
		b.Run(name, func(b *testing.B) {
			text, _ := New(nil).Expand("{{." + name + "}}")
			parsed, _ := syntax.Parse(text, syntax.Perl)
			var a *automaton
			for b.Loop() {
				a = newAutomaton(parsed, false)
			}
			if a != nil {
				b.ReportMetric(float64(len(a.next))/float64(a.end+1), "states")
				b.ReportMetric(float64(2*len(a.next)), "bytes")
			}
		})
	}
}
