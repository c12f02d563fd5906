package pattern

import (
	"testing"
	"unicode/utf8"
)

func TestShape(t *testing.T) {
	digit := func(r rune) bool { return '0' <= r && r <= '9' || r == '-' || r == '+' }
	for _, test := range []struct {
		text                                         string
		matchesEmpty, takesNothing, takesRest, space bool
		digits                                       bool
	}{
		{text: `abc`},
		{text: `.*`, matchesEmpty: true, takesRest: true},
		{text: `(.+)`, takesRest: true},
		{text: `.*?`, matchesEmpty: true, takesNothing: true},
		{text: `.*?,`},
		{text: `a.*$`, takesRest: true},
		{text: `.*\s*`, matchesEmpty: true, takesRest: true},
		{text: `.*\s+`},
		{text: `(a|.*)`, matchesEmpty: true},
		{text: `(b.*|.+)`, takesRest: true},
		{text: `(|a)`, matchesEmpty: true, takesNothing: true},
		{text: `a?`, matchesEmpty: true},
		{text: `a??`, matchesEmpty: true, takesNothing: true},
		{text: `(?:a??)+`, matchesEmpty: true, takesNothing: true},
		{text: `a{0,3}?`, matchesEmpty: true, takesNothing: true},
		{text: `a{0}`, matchesEmpty: true, takesNothing: true, space: true, digits: true},
		{text: ``, matchesEmpty: true, takesNothing: true, space: true, digits: true},
		{text: `^`, takesNothing: true, space: true, digits: true},
		{text: `\s+`, space: true},
		{text: `\s*`, matchesEmpty: true, space: true},
		{text: ` abc`, space: true},
		{text: `\s?abc`},
		{text: `\b[0-9]+`, digits: true},
		{text: `[+-]?[0-9]+`, digits: true},
		{text: `[0-9]+|(-)`, digits: true},
		{text: `[0-9]+|n/a`},
		{text: `(?i)k`},
		{text: `\n.*`, takesRest: true, space: true},
		{text: `x*?y*`, matchesEmpty: true},
	} {
		s, err := ShapeOf(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.MatchesEmpty(); got != test.matchesEmpty {
			t.Errorf("%q matches empty: %t", test.text, got)
		}
		if got := s.TakesNothing(); got != test.takesNothing {
			t.Errorf("%q takes nothing: %t", test.text, got)
		}
		if got := s.TakesRest(); got != test.takesRest {
			t.Errorf("%q takes the rest: %t", test.text, got)
		}
		if got := s.BeginsWithSpace(); got != test.space {
			t.Errorf("%q begins with space: %t", test.text, got)
		}
		if got := s.Only(digit); got != test.digits {
			t.Errorf("%q is of digits: %t", test.text, got)
		}
	}
	s, _ := ShapeOf(`[^|]*`)
	if s.Begins('|') || !s.Begins('a') {
		t.Error("what [^|]* begins with")
	}
}

// What the form tells is true of what matches.
func FuzzShape(f *testing.F) {
	for _, p := range builtin {
		f.Add(p, "some text 12:30 a@b.c\nnext")
	}
	f.Add(`.*?`, "x")
	f.Add(`(a|b??)*?$`, "ab")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 200 {
			return
		}
		re, err := Compile(pattern)
		if err != nil {
			return
		}
		s, err := ShapeOf(pattern)
		if err != nil {
			t.Fatal(err)
		}
		at := re.FindStringIndex(text)
		if at == nil {
			if s.MatchesEmpty() {
				t.Errorf("%q matches empty, but nothing in %q", pattern, text)
			}
			return
		}
		match := text[at[0]:at[1]]
		if s.TakesNothing() && match != "" {
			t.Errorf("%q takes nothing, but %q of %q", pattern, match, text)
		}
		if rest := text[at[1]:]; s.TakesRest() && rest != "" && rest[0] != '\n' {
			t.Errorf("%q takes the rest, but leaves %q of %q", pattern, rest, text)
		}
		if r, n := utf8.DecodeRuneInString(match); n > 0 && !s.Begins(r) {
			t.Errorf("%q does not begin with %q, but matches %q", pattern, r, match)
		}
	})
}
