package expr

import (
	"math"

	"github.com/epmesh/epmesh/node/tree"
)

// table is a long list of constants, asked by value instead of one by one.
type table struct {
	nums    map[float64]bool
	texts   map[string]bool // of all text constants
	yes, no bool            // the boolean constants
}

func newTable(constants []constant) *table {
	t := &table{nums: map[float64]bool{}, texts: map[string]bool{}}
	for _, c := range constants {
		if c.isNum && !math.IsNaN(c.num) {
			t.nums[c.num] = true
		}
		if c.isText {
			t.texts[c.text] = true
		}
		if c.isBool {
			t.yes = t.yes || c.bool
			t.no = t.no || !c.bool
		}
	}
	return t
}

// contains is true where equal is true for one of the constants.
func (t *table) contains(v tree.Value) bool {
	f, isNum := numeric(v)
	if isNum && t.nums[f] {
		return true
	}
	switch v.Kind {
	case tree.String:
		if !t.texts[v.Text] {
			return false
		}
		// A constant that reads as a number was compared as one above.
		_, textIsNum := number(v.Text)
		return !textIsNum
	case tree.True:
		return t.yes || t.texts["true"]
	case tree.False:
		return t.no || t.texts["false"]
	case tree.Null:
		return t.texts[""]
	case tree.Number:
		// Only a text that reads as no number is compared with its text.
		s := v.String()
		_, textIsNum := number(s)
		return !textIsNum && t.texts[s]
	}
	return false
}
