package history

import "slices"

// builder is the index of a segment in memory, while it grows. Its user keeps
// it from being read and changed at once.
type builder struct {
	paths   Paths
	places  map[uint64]uint32 // key -> position in lists
	lists   []list
	times   []int64
	kinds   []uint16 // of each event its data type's position in types
	types   []string // the data types there are
	known   map[string]uint16
	placed  int
	oldest  int64
	newest  int64
	arrived int64 // when the last one came in
	began   int64 // when the first did
}

// list is a growing posting; most have one event and need no memory of their own.
type list struct {
	n    uint32
	one  uint16
	more []uint16 // all of them, where n is above 1
}

func newBuilder(p Paths) *builder {
	return &builder{paths: p, places: map[uint64]uint32{}, known: map[string]uint16{}}
}

func (b *builder) size() int { return len(b.times) + b.placed }

// add appends an event with its keys, in which one may stand twice.
func (b *builder) add(keys []uint64, dataType string, when, arrived int64) {
	n := len(b.times)
	b.link(uint16(n), keys)
	kind, ok := b.known[dataType]
	if !ok {
		kind = uint16(len(b.types))
		b.known[dataType] = kind
		b.types = append(b.types, dataType)
	}
	b.kinds = append(b.kinds, kind)
	if n == 0 {
		b.oldest, b.newest, b.began = when, when, arrived
	}
	b.times = append(b.times, when)
	b.oldest, b.newest, b.arrived = min(b.oldest, when), max(b.newest, when), max(b.arrived, arrived)
}

func (b *builder) link(n uint16, keys []uint64) {
	for _, k := range keys {
		i, ok := b.places[k]
		if !ok {
			b.places[k] = uint32(len(b.lists))
			b.lists = append(b.lists, list{n: 1, one: n})
			continue
		}
		l := &b.lists[i]
		switch {
		case l.n == 1 && l.one == n || l.n > 1 && l.more[l.n-1] == n:
		case l.n == 1:
			l.more = append(make([]uint16, 0, 4), l.one, n)
			l.n = 2
		default:
			l.more = append(l.more, n)
			l.n++
		}
	}
}

// place is add for an event that is not the last; sort has to follow. It leaves
// out what an index file does not have.
func (b *builder) place(n uint16, keys []uint64, dataType string) {
	b.link(n, keys)
	if _, ok := b.known[dataType]; !ok {
		b.known[dataType] = 0
		b.types = append(b.types, dataType)
	}
	b.placed++
}

func (b *builder) sort() {
	for i := range b.lists {
		slices.Sort(b.lists[i].more)
	}
}

// byType is the events in the order in which they are to lie in a file.
func (b *builder) byType() []uint16 {
	order := make([]uint16, len(b.times))
	for i := range order {
		order[i] = uint16(i)
	}
	slices.SortStableFunc(order, func(x, y uint16) int { return int(b.kinds[x]) - int(b.kinds[y]) })
	return order
}

func (b *builder) posting(key uint64) posting {
	i, ok := b.places[key]
	if !ok {
		return posting{}
	}
	l := &b.lists[i]
	return posting{n: int(l.n), one: l.one, list: l.more}
}

// sorted gives the keys in order.
func (b *builder) sorted() []uint64 {
	keys := make([]uint64, 0, len(b.places))
	for k := range b.places {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
