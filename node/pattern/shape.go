package pattern

import (
	"regexp/syntax"
	"slices"
	"unicode"
)

// Shape is what the form of an expression tells about the texts that it
// matches. All of it is certain: where the form does not tell, it says the
// harmless. It is for those who check configuration.
type Shape struct {
	re   *syntax.Regexp
	prog *syntax.Prog
	// first are the instructions that take the first character of a match.
	first []*syntax.Inst
}

// ShapeOf looks at an expression that is expanded already.
func ShapeOf(text string) (*Shape, error) {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	if re, err = syntax.Parse(text, syntax.Perl); err != nil { // Simplify may have changed the first
		return nil, err
	}
	s := &Shape{re: re, prog: prog}
	s.closure(uint32(prog.Start), make([]bool, len(prog.Inst)))
	return s, nil
}

// closure finds the instructions that can come first. Assertions are taken as
// fulfilled.
func (s *Shape) closure(start uint32, seen []bool) {
	for stack := []uint32{start}; len(stack) > 0; {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &s.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
			stack = append(stack, inst.Out)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			s.first = append(s.first, inst)
		}
	}
}

// Begins reports whether a match that is not empty can begin with a character.
func (s *Shape) Begins(r rune) bool {
	return slices.ContainsFunc(s.first, func(i *syntax.Inst) bool { return matchRune(i, r) })
}

// BeginsWithSpace reports whether every match that is not empty begins with
// white space, or there is none.
func (s *Shape) BeginsWithSpace() bool {
	return !slices.ContainsFunc(s.first, func(i *syntax.Inst) bool { return !only(i, unicode.IsSpace) })
}

// Only reports whether matches are made of such characters and no others.
func (s *Shape) Only(is func(rune) bool) bool {
	for i := range s.prog.Inst {
		switch inst := &s.prog.Inst[i]; inst.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if !only(inst, is) {
				return false
			}
		}
	}
	return true
}

// only reports whether an instruction takes no other characters than such; a
// large class is taken to have others.
func only(i *syntax.Inst, is func(rune) bool) bool {
	if i.Op == syntax.InstRuneAny || i.Op == syntax.InstRuneAnyNotNL {
		return false
	}
	if len(i.Rune) == 1 {
		// A single one may stand for its other cases too.
		for r := i.Rune[0]; ; {
			if !is(r) {
				return false
			}
			if r = unicode.SimpleFold(r); r == i.Rune[0] || syntax.Flags(i.Arg)&syntax.FoldCase == 0 {
				return true
			}
		}
	}
	for k := 0; k+1 < len(i.Rune); k += 2 {
		if i.Rune[k+1]-i.Rune[k] > 64 {
			return false
		}
		for r := i.Rune[k]; r <= i.Rune[k+1]; r++ {
			if !is(r) {
				return false
			}
		}
	}
	return true
}

// MatchesEmpty reports whether the expression matches the empty text anywhere,
// and so matches in every text.
func (s *Shape) MatchesEmpty() bool { return nullable(s.re) }

func nullable(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCapture, syntax.OpPlus:
		return nullable(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || nullable(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !nullable(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, nullable)
	}
	return false
}

// TakesNothing reports whether the first match at any place is the empty one,
// though the expression may fit more: one such as `.*?` alone, which takes as
// little as it can.
func (s *Shape) TakesNothing() bool { return len(s.first) == 0 || lazy(s.re) }

func lazy(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return true
	case syntax.OpStar, syntax.OpQuest:
		return re.Flags&syntax.NonGreedy != 0 || lazy(re.Sub[0])
	case syntax.OpRepeat:
		return re.Max == 0 || re.Min == 0 && re.Flags&syntax.NonGreedy != 0 || lazy(re.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return lazy(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !lazy(sub) })
	case syntax.OpAlternate:
		return len(re.Sub) > 0 && lazy(re.Sub[0])
	}
	return false
}

// TakesRest reports whether every match goes on to the end of the line, so that
// nothing of it is left.
func (s *Shape) TakesRest() bool { return takesRest(s.re) }

func takesRest(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		any := re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar
		return any && re.Flags&syntax.NonGreedy == 0
	case syntax.OpEndText, syntax.OpEndLine:
		return true
	case syntax.OpCapture:
		return takesRest(re.Sub[0])
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !takesRest(sub) })
	case syntax.OpConcat:
		for _, sub := range slices.Backward(re.Sub) {
			if takesRest(sub) {
				return true
			}
			if !nullable(sub) {
				return false
			}
		}
	}
	return false
}
