package expr

import (
	"math"
	"slices"

	"github.com/epmesh/epmesh/node/tree"
)

// Index finds by a field's value which of many equalities hold, instead of
// trying them one by one. Each has a number. An Index is filled first; then any
// number of goroutines may ask it.
type Index struct {
	nums    map[float64][]int32 // a NaN is never found
	texts   map[string][]int32  // of texts that read as no number
	yes, no []int32             // of booleans
}

// NewIndex makes an empty index.
func NewIndex() *Index {
	return &Index{nums: map[float64][]int32{}, texts: map[string][]int32{}}
}

// Add adds a guard's equality under a number.
func (x *Index) Add(g Guard, number int) {
	for _, c := range g.equals {
		x.add(c, int32(number))
	}
}

func (x *Index) add(c constant, number int32) {
	switch {
	case c.isNum:
		x.nums[c.num] = append(x.nums[c.num], number)
	case c.isText:
		x.texts[c.text] = append(x.texts[c.text], number)
	}
	if c.isBool && c.bool || c.isText && c.text == "true" {
		x.yes = append(x.yes, number)
	}
	if c.isBool && !c.bool || c.isText && c.text == "false" {
		x.no = append(x.no, number)
	}
}

// Find gives the numbers of the equalities that hold for a value, some perhaps
// twice. They are not to be changed.
func (x *Index) Find(v tree.Value) []int32 {
	switch v.Kind {
	case tree.String:
		if f, ok := number(v.Text); ok {
			return x.nums[f]
		}
		return x.texts[v.Text]
	case tree.Number:
		if !math.IsInf(v.Num, 0) {
			return x.nums[v.Num]
		}
		// Its text may read as no number and is then compared as text too.
		return slices.Concat(x.nums[v.Num], x.texts[v.String()])
	case tree.True:
		return x.yes
	case tree.False:
		return x.no
	case tree.Null:
		return x.texts[""]
	}
	return nil
}

// Guard is an equality without which a condition cannot hold: the field at the
// path with one of some constants.
type Guard struct {
	Path   *tree.Path
	equals []constant
}

// Guards are the equalities that all must hold for the program to hold. There
// are none where CEL evaluates, which can fail: the failure must be seen.
func (p *Program) Guards() []Guard {
	all, ok := p.fast.(and)
	if !ok {
		all = and{p.fast}
	}
	var guards []Guard
	for _, each := range all {
		if l, ok := each.(*lookup); ok && l.equal != nil && !l.path.Special() {
			guards = append(guards, Guard{l.path, l.equal})
		}
	}
	return guards
}
