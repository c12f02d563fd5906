package expr

import (
	"slices"
	"testing"
)

func TestConjuncts(t *testing.T) {
	for source, want := range map[string][]string{
		`exists("a")`:                nil,
		`exists("a") && exists("b")`: {`exists("a")`, `exists("b")`},
		` (exists("a") && (exists("b")&&!exists("c"))) `: {`exists("a")`, `exists("b")`, `!exists("c")`},
		`(exists("a")) && (exists("b") || exists("c"))`:  {`exists("a")`, `exists("b") || exists("c")`},
		`exists("a") && exists("b") || exists("c")`:      nil,
		`(exists("a") && exists("b")) || (exists("c"))`:  nil,
		`exists("a") && exists("b") ? true : false`:      nil,
		`equals("a", "x && y") && equals("b", 'q"&&"')`:  {`equals("a", "x && y")`, `equals("b", 'q"&&"')`},
		`equals("a", "\" && ") && regexMatch("a", r"\")`: {`equals("a", "\" && ")`, `regexMatch("a", r"\")`},
		`equals("a", """x " && """) && exists("b")`:      {`equals("a", """x " && """)`, `exists("b")`},
		"exists(\"a\") && // why\n exists(\"b\")":        nil,
		`equals("url", "http://x") && exists("b")`:       {`equals("url", "http://x")`, `exists("b")`},
		`[1, 2].all(x, x > 0 && x < 3) && exists("b")`:   {`[1, 2].all(x, x > 0 && x < 3)`, `exists("b")`},
		`oneOf("a", ["x", "(&&"]) && log.x == 1 && true`: {`oneOf("a", ["x", "(&&"])`, `log.x == 1`, `true`},
	} {
		p, err := Compile(source, nil)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		var got []string
		for _, part := range p.Conjuncts() {
			got = append(got, part.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// FuzzConjuncts: whatever the text, cutting it ends and keeps to the text.
func FuzzConjuncts(f *testing.F) {
	f.Add(`exists("a") && (exists("b") && "x")`)
	f.Add(`((((`)
	f.Add(`"""&&`)
	f.Fuzz(func(t *testing.T, source string) {
		total := 0
		for _, part := range conjuncts(source) {
			total += len(part)
		}
		if total > len(source) {
			t.Errorf("%q: parts are longer than the text", source)
		}
	})
}
