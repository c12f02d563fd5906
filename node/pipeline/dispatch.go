package pipeline

import (
	"math/bits"
	"slices"

	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/tree"
)

// dispatch knows for a pipeline which steps can run at all, by the values of
// the few fields that many conditions compare with constants. A field's value
// is looked up once, and again when a step has edited the draft, instead of
// being compared for each step. It only leaves out steps whose condition is
// false; the others' conditions are evaluated as ever.
type dispatch struct {
	guards []guard
	free   []uint64 // the steps that ask for none of the fields
	words  int      // of a set of steps
}

// guard is one field and the steps that ask for its value.
type guard struct {
	path *tree.Path
	free []uint64    // the steps that do not
	by   *expr.Index // which of the others may run
}

const (
	minGuarded = 4 // steps that make a guard worth its lookups
	maxGuards  = 4 // looked up after each edit
)

// newDispatch gives nil where there is nothing to win.
func newDispatch(steps []*step) *dispatch {
	asking := map[string]int{}
	var paths []*tree.Path
	for _, st := range steps {
		for _, g := range st.guards() {
			if asking[g.Path.String()]++; asking[g.Path.String()] == minGuarded {
				paths = append(paths, g.Path)
			}
		}
	}
	if paths == nil {
		return nil
	}
	slices.SortStableFunc(paths, func(a, b *tree.Path) int {
		return asking[b.String()] - asking[a.String()]
	})
	d := &dispatch{words: (len(steps) + 63) / 64}
	d.free = make([]uint64, d.words)
	for i := range steps {
		include(d.free, i)
	}
	for _, path := range paths[:min(len(paths), maxGuards)] {
		g := guard{path: path, free: make([]uint64, d.words), by: expr.NewIndex()}
		for i, st := range steps {
			free := true
			for _, each := range st.guards() {
				// Of two on one field the first says enough.
				if free && each.Path.Same(path) {
					g.by.Add(each, i)
					free = false
				}
			}
			if free {
				include(g.free, i)
			} else {
				d.free[i/64] &^= 1 << (i % 64)
			}
		}
		d.guards = append(d.guards, g)
	}
	return d
}

func (st *step) guards() []expr.Guard {
	if st.where == nil {
		return nil
	}
	return st.where.Guards()
}

func include(words []uint64, i int) { words[i/64] |= 1 << (i % 64) }

// walk goes through the steps of one pipeline that may have to run. A draft
// keeps its memory.
type walk struct {
	of     *dispatch // nil: all steps
	d      *draft
	gen    uint64 // at which the values were read; 0: not yet
	values [maxGuards]tree.Value
	ready  []uint64 // the steps that may run under the values
	some   []uint64
}

// begin starts a walk over a draft.
func (d *draft) begin(of *dispatch) *walk {
	w := &d.walk
	w.of, w.d, w.gen = of, d, 0
	return w
}

// next is the first step from j on that may have to run; where there is none,
// a number behind the last. The fields are only read where a step asks for them.
func (w *walk) next(j int) int {
	if w.of == nil || j/64 < w.of.words && w.of.free[j/64]>>(j%64)&1 != 0 {
		return j
	}
	if w.gen != w.d.Gen() {
		w.look()
	}
	for i, skip := j/64, j%64; i < w.of.words; i, skip = i+1, 0 {
		if word := w.ready[i] >> skip << skip; word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return w.of.words * 64
}

// look reads the fields, if it is not the first time because of an edit.
func (w *walk) look() {
	changed := w.gen == 0
	w.gen = w.d.Gen()
	for i := range w.of.guards {
		v, old := w.d.Tree.Lookup(w.of.guards[i].path), &w.values[i]
		if v.Kind != old.Kind || v.Num != old.Num || v.Text != old.Text {
			*old, changed = v, true
		}
	}
	if changed {
		w.choose()
	}
}

// choose works out the steps that may run under the fields' values.
func (w *walk) choose() {
	for i := range w.of.guards {
		g := &w.of.guards[i]
		w.some = append(w.some[:0], g.free...)
		for _, j := range g.by.Find(w.values[i]) {
			include(w.some, int(j))
		}
		if i == 0 {
			w.ready, w.some = w.some, w.ready
			continue
		}
		for k := range w.ready {
			w.ready[k] &= w.some[k]
		}
	}
}
