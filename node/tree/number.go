package tree

import (
	"math"
	"strconv"
)

// number reads a number by JSON's grammar. Whole numbers of up to 15 digits,
// which is nearly all there are, are computed on the way.
func (p *parser) number() (Node, error) {
	s, start := p.s, p.i
	i := start
	if i < len(s) && s[i] == '-' {
		i++
	}
	first := i
	var whole uint64
	for i < len(s) && s[i]-'0' <= 9 {
		whole = whole*10 + uint64(s[i]-'0')
		i++
	}
	digits := i - first
	if digits == 0 || digits > 1 && s[first] == '0' {
		return Node{}, p.fail("unexpected character")
	}
	plain := digits <= 15
	if i < len(s) && s[i] == '.' {
		plain = false
		from := i + 1
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
		}
		if i == from {
			return Node{}, p.fail("bad number")
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		plain = false
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		from := i
		for ; i < len(s) && s[i]-'0' <= 9; i++ {
		}
		if i == from {
			return Node{}, p.fail("bad number")
		}
	}
	p.i = i
	n := Node{kind: Number, text: s[start:i]}
	if !plain {
		n.num, _ = strconv.ParseFloat(n.text, 64) // ±Inf out of range
		return n, nil
	}
	n.num = float64(whole)
	if first > start {
		n.num = math.Copysign(n.num, -1)
	}
	return n, nil
}
