package lint

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

// maxBadPatterns ends the look at named patterns: they are of another kind.
const maxBadPatterns = 50

// namedPatterns compiles the configuration's own patterns, used or not.
func (l *linter) namedPatterns() {
	before := len(l.report)
	for _, name := range slices.Sorted(maps.Keys(l.set.Patterns)) {
		// Those that refer to each other in turn cost time.
		if len(l.report)-before > maxBadPatterns {
			return
		}
		l.regexp(l.set.Patterns[name], l.set.At("patterns", name), "pattern "+name+": ")
	}
}

// patternHint is the hint for an unknown pattern.
func (l *linter) patternHint(name string) string {
	if near := config.Suggest(name, l.patterns.Names()); near != "" {
		return "did you mean {{." + near + "}}?"
	}
	return "define it under patterns; patterns of files that are not checked together are not known"
}

// regexp compiles an expression and reports why it does not.
func (l *linter) regexp(text string, at config.Place, prefix string) *pattern.Shape {
	expanded, err := l.patterns.Expand(text)
	if unknown := (*pattern.UnknownError)(nil); errors.As(err, &unknown) {
		offset := max(0, strings.LastIndex(text[:max(0, strings.Index(text, "."+unknown.Name))], "{{"))
		l.find(expr.UnknownPattern, at.Offset(offset), l.patternHint(unknown.Name), "%sunknown pattern {{.%s}}", prefix, unknown.Name)
		return nil
	}
	if err == nil {
		_, err = pattern.Compile(expanded)
	}
	if err != nil {
		l.find(expr.BadRegexp, at.Offset(0), "", "%sthe regular expression does not compile: %s", prefix, shorten(strings.TrimPrefix(err.Error(), "regular expression: error parsing regexp: ")))
		return nil
	}
	shape, err := pattern.ShapeOf(expanded)
	if err != nil {
		return nil
	}
	return shape
}

func shorten(text string) string {
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// grok looks at the patterns by themselves and one after the other.
func (l *linter) grok(s *step, p *pb.Grok) {
	l.from(s, p.GetSource())
	if len(p.GetPatterns()) == 0 {
		l.missing(s, s.Position, "patterns", "write patterns: [{fieldName: name, pattern: expression}]")
	}
	if len(p.GetPatterns()) > 0 && !slices.ContainsFunc(p.GetPatterns(), func(one *pb.Pattern) bool { return one.GetFieldName() != "" }) {
		l.find(noEffect, s.Position, "write fieldName: beside the pattern that takes the field", "grok: no pattern has a fieldName, so the step writes nothing")
	}
	rest := -1 // the pattern that takes the rest
	for i, one := range p.GetPatterns() {
		place := s.At("patterns", strconv.Itoa(i))
		at := place.At("pattern")
		v := value{kind: textValue}
		if rest >= 0 {
			l.find(nothingLeft, at.Position, "make the pattern before it take less, or leave this one out", "grok: pattern %d takes the rest of the line, so nothing is left for this one", rest+1)
			rest = -1 // once is enough
		}
		switch shape := l.regexp(one.GetPattern(), at, "grok: "); {
		case one.GetPattern() == "":
			l.find(neverMatches, at.Position, "write pattern: an expression", "grok: the pattern is empty, and a pattern must match something")
		case shape == nil:
		case shape.BeginsWithSpace() && strings.ContainsFunc(spaces, shape.Begins):
			l.find(neverMatches, at.Offset(0), "leave the white space out", "grok: white space is trimmed before each pattern, so that no text begins as this one does")
		case shape.TakesNothing():
			l.find(neverMatches, at.Offset(0), "let it end with what comes after the field, or take a class such as {{.notSpace}}", "grok: alone, the pattern takes as little as it can, which is nothing, and a pattern must match something")
		default:
			if c, fails := emptyAt(shape); fails {
				l.find(mayMatchEmpty, at.Offset(0), "let the pattern match one character at least, or what comes after it too", "grok: the step fails where the pattern matches nothing, such as before %q", c)
			}
			v.number = shape.Only(isNumeric) && l.numeric(one.GetPattern())
			if shape.TakesRest() {
				rest = i
			}
		}
		if name := one.GetFieldName(); name != "" {
			l.target(s, name, place.At("fieldName").Position, v)
		}
	}
}

const spaces = " \t\n\r\v\f\u0085\u00a0"

func isNumeric(r rune) bool { return '0' <= r && r <= '9' || r == '+' || r == '-' || r == '.' }

// numeric reports whether a pattern of such characters matches none of the texts
// of them that stand for "no number".
func (l *linter) numeric(text string) bool {
	re, err := l.patterns.Compile(`^(?:` + text + `)$`)
	return err == nil && !slices.ContainsFunc([]string{"-", "+", ".", "--"}, re.MatchString)
}

// emptyAt finds a character before which a pattern can only match nothing.
func emptyAt(shape *pattern.Shape) (rune, bool) {
	if !shape.MatchesEmpty() {
		return 0, false
	}
	for r := rune('!'); r < 0x7f; r++ {
		if !unicode.IsSpace(r) && !shape.Begins(r) {
			return r, true
		}
	}
	return 0, false
}
