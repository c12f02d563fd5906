package expr

import "github.com/epmesh/epmesh/node/tree"

// Dispatch knows which of many programs may hold for a document at all, by the
// values that their conditions cannot do without: it looks at each field once,
// and not once for each program. It leaves out only programs that are false for
// the document, and would not fail. Any number of goroutines may use it.
type Dispatch struct {
	words  int
	free   []uint64 // the programs that need nothing
	fields []dispatchField
}

// dispatchField is one field and the programs that need something of it.
type dispatchField struct {
	path   *tree.Path
	equal  *Index    // nil: none asks for a value
	texts  *literals // nil: none asks for a text
	exists []int32
	folded []int32 // those whose texts may stand in letters beyond ASCII
}

// NewDispatch makes a dispatch of programs, numbered by their places. A nil one
// may hold for every document.
func NewDispatch(programs []*Program) *Dispatch {
	d := &Dispatch{words: (len(programs) + 63) / 64}
	d.free = make([]uint64, d.words)
	byPath := map[string]int{}
	for i, p := range programs {
		number := int32(i)
		var all needs
		sure := false
		if p != nil {
			all, sure = p.needs()
		}
		if !sure {
			d.free[i>>6] |= 1 << (i & 63)
			continue
		}
		for j := range all {
			at, known := byPath[all[j].path.String()]
			if !known {
				at = len(d.fields)
				byPath[all[j].path.String()] = at
				d.fields = append(d.fields, dispatchField{path: all[j].path})
			}
			d.fields[at].add(&all[j], number)
		}
	}
	for i := range d.fields {
		if d.fields[i].texts != nil {
			d.fields[i].texts.build()
		}
	}
	return d
}

func (f *dispatchField) add(n *need, number int32) {
	switch {
	case n.equal != nil:
		if f.equal == nil {
			f.equal = NewIndex()
		}
		f.equal.Add(Guard{equals: n.equal}, int(number))
	case n.texts != nil:
		if f.texts == nil {
			f.texts = &literals{}
		}
		for _, text := range n.texts {
			if !f.texts.add(text, number) {
				f.exists = append(f.exists, number) // asked for less
				break
			}
		}
		if n.folded {
			f.folded = append(f.folded, number)
		}
	default:
		f.exists = append(f.exists, number)
	}
}

// Words is the length of the sets that Candidates gives.
func (d *Dispatch) Words() int { return d.words }

// Candidates gives the programs that may hold, as a set of bits in the order of
// their numbers. It is built in to, where that is long enough.
func (d *Dispatch) Candidates(doc Doc, to []uint64) []uint64 {
	to = append(to[:0], d.free...)
	for i := range d.fields {
		f := &d.fields[i]
		v := doc.Lookup(f.path)
		if !v.Exists() {
			continue
		}
		if f.equal != nil {
			for _, n := range f.equal.Find(v) {
				to[n>>6] |= 1 << (n & 63)
			}
		}
		for _, n := range f.exists {
			to[n>>6] |= 1 << (n & 63)
		}
		if f.texts != nil && v.Kind == tree.String && f.texts.find(v.Text, to) {
			for _, n := range f.folded {
				to[n>>6] |= 1 << (n & 63)
			}
		}
	}
	return to
}
