package pattern

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Literals are texts of which one stands in every text that an expression
// matches in, for those who look for the texts of many expressions at once.
type Literals struct {
	// Texts are in lower case, as far as letters of ASCII go, and at least one:
	// it may stand there in any case.
	Texts []string
	// Folded tells that a letter of ASCII in them may stand there as one that is
	// none, as K does as the Kelvin sign.
	Folded bool
}

// maxLiterals is how many texts are still worth looking for.
const maxLiterals = 64

// Literals expands an expression and finds such texts; false where none are
// sure.
func (s Set) Literals(text string) (Literals, bool) {
	text, err := s.Expand(text)
	if err != nil {
		return Literals{}, false
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return Literals{}, false
	}
	l := literals(parsed)
	return l, len(l.Texts) > 0
}

// literals has no texts where nothing is sure.
func literals(re *syntax.Regexp) Literals {
	switch re.Op {
	case syntax.OpLiteral:
		return literal(re)
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literals(re.Sub[0])
		}
	case syntax.OpConcat:
		var best Literals
		for _, sub := range re.Sub {
			if l := literals(sub); len(l.Texts) > 0 && (best.Texts == nil || worth(l.Texts) > worth(best.Texts)) {
				best = l
			}
		}
		return best
	case syntax.OpAlternate:
		var all Literals
		for _, sub := range re.Sub {
			l := literals(sub)
			if len(l.Texts) == 0 {
				return Literals{}
			}
			all.Texts = append(all.Texts, l.Texts...)
			all.Folded = all.Folded || l.Folded
		}
		if len(all.Texts) <= maxLiterals {
			return all
		}
	}
	return Literals{}
}

func literal(re *syntax.Regexp) Literals {
	text := string(re.Rune)
	// An invalid byte counts as U+FFFD for an expression, and not for a text.
	if i := strings.IndexRune(text, utf8.RuneError); i >= 0 {
		text = text[:i]
	}
	folded := re.Flags&syntax.FoldCase != 0
	if folded {
		for i := range len(text) {
			if text[i] >= utf8.RuneSelf {
				text = text[:i]
				break
			}
		}
	}
	if text == "" {
		return Literals{}
	}
	return Literals{Texts: []string{Lower(text)}, Folded: folded}
}

// Lower is a text with the letters of ASCII in lower case, and every other byte
// as it is.
func Lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
