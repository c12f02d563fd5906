package pipeline

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/epmesh/epmesh/node/pattern"
)

// matcher decides how much of a text's start one grok pattern takes. The rule:
// find the leftmost match of the expression; it must not be empty, and the text
// must start with the matched text.
//
// A match at the start is the leftmost, so only there is looked first. Where
// there is none, the rule can still hold, by a later match of what the text also
// starts with, but only where the expression looks around itself (^, $, \b, \B):
// without that, what matches later matches at the start. And only if the
// expression without its assertions matches at the start. So the text is
// searched only after that.
type matcher struct {
	// One of literal, until and anchored is set.
	literal string // the expression is this text
	until   *until
	// anchored matches at the start only.
	anchored *pattern.Start
	// loose is anchored without assertions, and full the expression itself; nil
	// where the expression has no assertions.
	loose *pattern.Start
	full  *pattern.Regexp
}

// until is `.*?text`, `.*text` or `.*`: all of a line up to and with a text.
type until struct {
	text string
	last bool // up to the last of the line, not the first
}

func newMatcher(text string, patterns pattern.Set) (*matcher, error) {
	text, err := patterns.Expand(text)
	if err != nil {
		return nil, err
	}
	full, err := pattern.Compile(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	asserts := false
	loose := simplify(parsed, true, &asserts)
	exact := loose
	if asserts {
		if parsed, err = syntax.Parse(text, syntax.Perl); err != nil {
			return nil, err
		}
		exact = simplify(parsed, false, &asserts)
	}
	m := &matcher{}
	if !asserts {
		if m.literal = literal(exact); m.literal != "" {
			return m, nil
		}
		if m.until = asUntil(exact); m.until != nil {
			return m, nil
		}
	}
	if m.anchored, err = pattern.NewStart(exact); err != nil {
		return nil, err
	}
	if asserts {
		m.full = full
		if m.loose, err = pattern.NewStart(loose); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// match is the length of what the pattern takes, 0 for nothing.
func (m *matcher) match(text string) int {
	switch {
	case m.literal != "":
		if strings.HasPrefix(text, m.literal) {
			return len(m.literal)
		}
		return 0
	case m.until != nil:
		return m.until.match(text)
	}
	if n := m.anchored.Match(text); n >= 0 {
		return n
	}
	if m.full == nil || m.loose.Match(text) < 0 {
		return 0
	}
	at := m.full.FindStringIndex(text)
	if at == nil || !strings.HasPrefix(text, text[at[0]:at[1]]) {
		return 0
	}
	return at[1] - at[0]
}

func (u *until) match(text string) int {
	text, _, _ = strings.Cut(text, "\n")
	at := 0
	switch {
	case u.last && u.text == "":
		return len(text)
	case u.last:
		at = strings.LastIndex(text, u.text)
	default:
		at = strings.Index(text, u.text)
	}
	if at < 0 {
		return 0
	}
	return at + len(u.text)
}

// simplify drops captures, which nobody asks for, and on demand assertions; it
// notes whether there are any. It changes the expression it is given.
func simplify(re *syntax.Regexp, loose bool, asserts *bool) *syntax.Regexp {
	for i, sub := range re.Sub {
		re.Sub[i] = simplify(sub, loose, asserts)
	}
	switch re.Op {
	case syntax.OpCapture:
		return re.Sub[0]
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		*asserts = true
		if loose {
			return &syntax.Regexp{Op: syntax.OpEmptyMatch}
		}
	}
	return re
}

// literal is the one text that an expression matches, "" where it is not so
// simple: an expression with U+FFFD takes invalid bytes too.
func literal(re *syntax.Regexp) string {
	text := string(re.Rune)
	if re.Op != syntax.OpLiteral || re.Flags&syntax.FoldCase != 0 || strings.ContainsRune(text, utf8.RuneError) {
		return ""
	}
	return text
}

func asUntil(re *syntax.Regexp) *until {
	star := re
	u := &until{}
	if re.Op == syntax.OpConcat {
		if len(re.Sub) != 2 {
			return nil
		}
		star, u.text = re.Sub[0], literal(re.Sub[1])
		if u.text == "" || strings.IndexByte(u.text, '\n') >= 0 {
			return nil
		}
	}
	if star.Op != syntax.OpStar || star.Sub[0].Op != syntax.OpAnyCharNotNL {
		return nil
	}
	u.last = star.Flags&syntax.NonGreedy == 0
	if u.text == "" && !u.last {
		return nil
	}
	return u
}
