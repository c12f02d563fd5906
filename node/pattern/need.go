package pattern

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// needs are texts that stand in whatever an expression matches: one of each
// list. To look for them costs a fraction of what the expression costs.
type needs [][]string

const (
	maxNeeds   = 3 // lists asked, those of long texts first
	maxChoices = 8 // texts of a list
)

// miss reports whether the expression cannot match in the text.
func (n needs) miss(text string) bool {
	for _, choices := range n {
		if !containsAny(text, choices) {
			return true
		}
	}
	return false
}

func containsAny(text string, choices []string) bool {
	for _, choice := range choices {
		if strings.Contains(text, choice) {
			return true
		}
	}
	return false
}

func needsOf(re *syntax.Regexp) needs {
	all := required(re)
	slices.SortStableFunc(all, func(a, b []string) int { return cmp.Compare(worth(b), worth(a)) })
	return all[:min(len(all), maxNeeds)]
}

// worth is the length of the shortest text of a list, since that is the
// likeliest to be met by chance.
func worth(choices []string) int {
	shortest := len(choices[0])
	for _, choice := range choices {
		shortest = min(shortest, len(choice))
	}
	return shortest
}

func required(re *syntax.Regexp) needs {
	switch re.Op {
	case syntax.OpLiteral:
		// An invalid byte counts as U+FFFD for an expression, and not for a text. A
		// surrogate, which stands in no text, would become U+FFFD too.
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase == 0 && !strings.ContainsRune(text, utf8.RuneError) {
			return needs{{text}}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var all needs
		for _, sub := range re.Sub {
			all = append(all, required(sub)...)
		}
		return all
	case syntax.OpAlternate:
		// One of what each alternative needs most.
		var choices []string
		for _, sub := range re.Sub {
			best := needsOf(sub)
			if len(best) == 0 {
				return nil
			}
			choices = append(choices, best[0]...)
		}
		if len(choices) <= maxChoices {
			return needs{choices}
		}
	}
	return nil
}
