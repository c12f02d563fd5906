package pattern

import "unicode/utf8"

// automaton is an expression as a table: one look-up a character, where regexp
// follows all ways the expression can go. It gives what regexp gives. Only
// expressions have one that treat all characters beyond ASCII alike and whose
// table is small.
//
// A state is the list of instructions to go on with, the preferred first, and
// what stood before, which assertions ask for. Whether the expression matches
// up to a place is known with the character behind it.
type automaton struct {
	class [utf8.RuneSelf]uint8 // of ASCII characters
	high  uint8                // the class of all others
	end   uint8                // the class of the text's end, the last
	// next holds for each state and class twice the next state, plus one where
	// the expression matches up to here. State 0 is the end, 1 the start.
	next []uint16
	// fixed: the expression matches at the text's start or nowhere.
	fixed bool
}

// match is the end of the match at the text's start, -1 if there is none; with
// soonest that of whatever match is known first.
func (a *automaton) match(text string, soonest bool) int {
	found, state, width := -1, 1, int(a.end)+1
	for i := 0; i < len(text); {
		class, size := a.high, 1
		if c := text[i]; c < utf8.RuneSelf {
			class = a.class[c]
		} else {
			_, size = utf8.DecodeRuneInString(text[i:])
		}
		next := a.next[state*width+int(class)]
		if next&1 != 0 {
			if found = i; soonest {
				return found
			}
		}
		if state = int(next >> 1); state == 0 {
			return found
		}
		i += size
	}
	if a.next[state*width+int(a.end)]&1 != 0 {
		return len(text)
	}
	return found
}
