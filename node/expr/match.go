package expr

import (
	"math"
	"strconv"

	"github.com/epmesh/epmesh/node/tree"
)

// number reads a text as the reference does, by strconv.ParseFloat, but knows
// most texts that are none without asking it.
func number(s string) (float64, bool) {
	if s == "" || len(s) > 400 {
		return 0, false
	}
	i := 0
	if s[0] == '-' || s[0] == '+' {
		i++
	}
	var whole uint64
	digits := len(s) - i
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		whole = whole*10 + uint64(s[i]-'0')
	}
	if i == len(s) && digits > 0 && digits <= 15 {
		f := float64(whole)
		if s[0] == '-' {
			f = math.Copysign(f, -1)
		}
		return f, true
	}
	dots := 0
	for i = range len(s) {
		switch c := s[i]; {
		case c == '.':
			if dots++; dots > 1 {
				return 0, false
			}
		case c-'0' <= 9, c == '+', c == '-', c == '_':
		case 'a' <= c|0x20 && c|0x20 <= 'f', c|0x20 == 'x', c|0x20 == 'p':
		case c|0x20 == 'i', c|0x20 == 'n', c|0x20 == 't', c|0x20 == 'y':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// numeric is the number that a field counts as.
func numeric(v tree.Value) (float64, bool) {
	switch v.Kind {
	case tree.Number:
		return v.Num, true
	case tree.String:
		return number(v.Text)
	}
	return 0, false
}

// constant is an argument of equals or an item of oneOf, with all that it can
// be compared as worked out.
type constant struct {
	num          float64
	text         string
	isNum        bool
	isText       bool
	isBool, bool bool
}

func newConstant(arg any) constant {
	var c constant
	switch a := arg.(type) {
	case string:
		c.text, c.isText = a, true
		c.num, c.isNum = number(a)
	case int64:
		c.num, c.isNum = float64(a), true
	case float64:
		c.num, c.isNum = a, true
	case bool:
		c.bool, c.isBool = a, true
	}
	return c
}

// equal compares as numbers where both sides read as numbers; else strings and
// booleans with their like, and a text with the text of any scalar.
func (c *constant) equal(v tree.Value) bool {
	if c.isNum {
		if f, ok := numeric(v); ok {
			return f == c.num
		}
	}
	switch v.Kind {
	case tree.String:
		return c.isText && v.Text == c.text
	case tree.True, tree.False:
		if c.isBool {
			return c.bool == (v.Kind == tree.True)
		}
		return c.isText && c.text == v.String()
	case tree.Number, tree.Null:
		return c.isText && c.text == v.String()
	}
	return false
}
