package expr

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/operators"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// clash reports whether a claim can be true beside others; if not, which of
// them it contradicts, or itself.
func clash(claims []claim, c claim) (claim, bool) {
	same := []claim{c}
	for _, other := range claims {
		if other.path.Same(c.path) {
			same = append(same, other)
		}
	}
	// Each pair first, so that the one to blame can be named.
	for _, other := range same {
		if !together([]claim{c, other}) {
			return other, false
		}
	}
	if !together(same) {
		return same[len(same)-1], false
	}
	return claim{}, true
}

// together reports whether a value, or its absence, can fulfil all claims about
// one path; yes where a regular expression takes too long to tell.
func together(claims []claim) (can bool) {
	var slow error
	defer func() { can = can || slow != nil }()
	defer pattern.Recover(&slow)
	fits := func(v tree.Value) bool {
		return !slices.ContainsFunc(claims, func(c claim) bool { return c.test(v) != c.holds })
	}
	var missing tree.Value
	if fits(missing) {
		return true
	}
	// Something must be there.
	for _, c := range claims {
		if c.holds && c.never() || !c.holds && c.function == "exists" {
			return false
		}
		if slices.ContainsFunc(claims, func(o claim) bool { return o.holds != c.holds && o.key() == c.key() }) {
			return false
		}
	}
	for _, c := range claims {
		if values, ok := c.values(); ok {
			return slices.ContainsFunc(values, func(v sample) bool { return v.fits(claims) })
		}
	}
	return ranges(claims) && beginnings(claims)
}

// sample is a value that a claim leaves possible, or, with number, all that
// read as that number.
type sample struct {
	value  tree.Value
	number bool
}

func (s sample) fits(claims []claim) bool {
	return !slices.ContainsFunc(claims, func(c claim) bool {
		// How a number is written is open, so a question about its text is too.
		if s.number && !c.aboutNumber() {
			return false
		}
		return c.test(s.value) != c.holds
	})
}

func (a *atom) aboutNumber() bool {
	switch a.function {
	case "exists", "equals", "oneOf", "lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual":
		return true
	}
	return a.function == "safe" && !isText(a.args[1])
}

func isText(v any) bool { _, is := v.(string); return is }

// key tells equal questions about one path.
func (a *atom) key() string {
	if a.id == "" {
		a.id = fmt.Sprintf("%s%#v", a.function, a.args)
	}
	return a.id
}

// never reports whether the question's answer is no for every value.
func (a *atom) never() bool {
	return a.function == "oneOf" && len(listOf(a.args[0])) == 0
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}

// values are all that a claim leaves possible; false if that is no short list.
func (c claim) values() ([]sample, bool) {
	var constants []any
	switch {
	case !c.holds:
		return nil, false
	case c.function == "equals":
		constants = c.args
	case c.function == "oneOf":
		constants = listOf(c.args[0])
	case c.function == "safe" && !c.test(tree.Value{}):
		switch c.args[0] {
		case operators.Equals:
			if text, ok := c.args[2].(string); ok {
				return []sample{{value: tree.Value{Kind: tree.String, Text: text}}}, true
			}
			constants = c.args[2:]
		case operators.In:
			var all []sample
			for _, item := range listOf(c.args[2]) {
				text, _ := item.(string)
				all = append(all, sample{value: tree.Value{Kind: tree.String, Text: text}})
			}
			return all, true
		default:
			return nil, false
		}
	default:
		return nil, false
	}
	var all []sample
	for _, arg := range constants {
		k := newConstant(arg)
		switch {
		case k.isNum && (math.IsNaN(k.num) || math.IsInf(k.num, 0)):
			return nil, false // a number that is too large counts as text as well
		case k.isNum:
			all = append(all, sample{tree.Value{Kind: tree.Number, Num: k.num, Text: strconv.FormatFloat(k.num, 'g', -1, 64)}, true})
		case k.isBool && k.bool:
			all = append(all, sample{value: tree.Value{Kind: tree.True}})
		case k.isBool:
			all = append(all, sample{value: tree.Value{Kind: tree.False}})
		case k.isText && strings.Trim(k.text, "0123456789+-.eE") == "" && k.text != "":
			return nil, false // the text of a number that is too large to be one
		case k.isText:
			all = append(all, sample{value: tree.Value{Kind: tree.String, Text: k.text}})
			switch k.text {
			case "true":
				all = append(all, sample{value: tree.Value{Kind: tree.True}})
			case "false":
				all = append(all, sample{value: tree.Value{Kind: tree.False}})
			case "":
				all = append(all, sample{value: tree.Value{Kind: tree.Null}})
			}
		}
	}
	return all, true
}

// ranges reports whether a number can lie between all bounds that are claimed.
func ranges(claims []claim) bool {
	low, high := math.Inf(-1), math.Inf(1)
	lowOpen, highOpen := false, false
	// Once it must be a number, a bound with a default holds for it too.
	number := slices.ContainsFunc(claims, func(c claim) bool {
		_, _, ok := c.bound()
		return ok && !c.test(tree.Value{})
	})
	if !number {
		return true
	}
	for _, c := range claims {
		op, limit, ok := c.bound()
		if !ok {
			continue
		}
		switch op {
		case "<", "<=":
			if limit < high || limit == high && op == "<" {
				high, highOpen = limit, op == "<"
			}
		case ">", ">=":
			if limit > low || limit == low && op == ">" {
				low, lowOpen = limit, op == ">"
			}
		}
	}
	return low < high || low == high && !lowOpen && !highOpen
}

// bound is the bound that a claim sets for a number.
func (c claim) bound() (op string, limit float64, ok bool) {
	if !c.holds {
		return "", 0, false
	}
	switch c.function {
	case "lessThan":
		op = "<"
	case "lessOrEqual":
		op = "<="
	case "greaterThan":
		op = ">"
	case "greaterOrEqual":
		op = ">="
	case "safe":
		if isText(c.args[1]) {
			return "", 0, false
		}
		switch c.args[0] {
		case operators.Less:
			op = "<"
		case operators.LessEquals:
			op = "<="
		case operators.Greater:
			op = ">"
		case operators.GreaterEquals:
			op = ">="
		default:
			return "", 0, false
		}
	default:
		return "", 0, false
	}
	k := newConstant(c.args[len(c.args)-1])
	return op, k.num, k.isNum && !math.IsNaN(k.num)
}

// beginnings reports whether one text can begin, and end, as is claimed.
func beginnings(claims []claim) bool {
	for i, a := range claims {
		for _, b := range claims[:i] {
			if !a.holds || !b.holds || a.function != b.function || len(a.args) == 0 {
				continue
			}
			x, okX := a.args[0].(string)
			y, okY := b.args[0].(string)
			if !okX || !okY {
				continue
			}
			if a.function == "startsWith" && !strings.HasPrefix(x, y) && !strings.HasPrefix(y, x) ||
				a.function == "endsWith" && !strings.HasSuffix(x, y) && !strings.HasSuffix(y, x) {
				return false
			}
		}
	}
	return true
}
