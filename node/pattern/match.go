package pattern

import "regexp/syntax"

// Start says what an expression matches at the start of a text. It may be used
// by many goroutines at once.
type Start struct {
	table *automaton
	re    *Regexp // where there is no table
}

// NewStart makes a Start of a parsed expression, whose captures do not count.
func NewStart(re *syntax.Regexp) (*Start, error) {
	if table := newAutomaton(re, false); table != nil {
		return &Start{table: table}, nil
	}
	anchored, err := Compile(`\A(?:` + re.String() + `)`)
	return &Start{re: anchored}, err
}

// Match is the length of what is matched, -1 for nothing: what regexp finds
// with \A before the expression.
func (s *Start) Match(text string) int {
	if s.table != nil {
		return s.table.match(text, false)
	}
	if at := s.re.FindStringIndex(text); at != nil {
		return at[1]
	}
	return -1
}

// Search says whether an expression matches anywhere in a text. It may be used
// by many goroutines at once.
type Search struct {
	needs needs
	whole bool // the expression is the one text that it needs
	table *automaton
	re    *Regexp // where there is no table
}

// Search expands and compiles an expression.
func (s Set) Search(text string) (*Search, error) {
	text, err := s.Expand(text)
	if err != nil {
		return nil, err
	}
	re, err := Compile(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	found := &Search{needs: needsOf(parsed), whole: parsed.Op == syntax.OpLiteral}
	found.whole = found.whole && len(found.needs) == 1
	if found.table = newAutomaton(parsed, true); found.table == nil {
		found.re = re
	} else if found.table.fixed {
		found.needs = nil // the table ends sooner
	}
	return found, nil
}

// MayGiveUp tells that Match may panic, for Recover: a table never takes long.
func (s *Search) MayGiveUp() bool { return !s.whole && s.table == nil }

// Match is what regexp's MatchString gives.
func (s *Search) Match(text string) bool {
	switch {
	case s.needs.miss(text):
		return false
	case s.whole:
		return true
	case s.table != nil:
		return s.table.match(text, true) >= 0
	}
	return s.re.MatchString(text)
}
