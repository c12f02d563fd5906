package history

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
	"sort"
)

// segmentEvents is how many events a segment has at most, so that a place in it
// has 16 bits and the set of all of them 8 KiB.
const segmentEvents = 1 << 16

// posting is the set of the events of a segment that have a key: one, a sorted
// list, or a bitmap. The bytes of a list or bitmap may lie in a mapped file.
type posting struct {
	n    int
	one  uint16   // where n is 1
	list []uint16 // of an index in memory
	raw  []byte   // the list of an index on disk, little-endian
	bits []byte   // a bitmap, little-endian
}

func (p *posting) at(i int) uint16 {
	switch {
	case p.list != nil:
		return p.list[i]
	case p.raw != nil:
		return binary.LittleEndian.Uint16(p.raw[2*i:])
	}
	return p.one
}

func (p *posting) has(n uint16) bool {
	if p.bits != nil {
		return p.bits[n>>3]&(1<<(n&7)) != 0
	}
	i := sort.Search(p.n, func(i int) bool { return p.at(i) >= n })
	return i < p.n && p.at(i) == n
}

// bitset is a set of events of a segment.
type bitset [segmentEvents / 64]uint64

func (b *bitset) clear() { *b = bitset{} }

// fill puts the events below n into the set.
func (b *bitset) fill(n int) {
	b.clear()
	for i := range n / 64 {
		b[i] = ^uint64(0)
	}
	if n%64 != 0 {
		b[n/64] = 1<<(n%64) - 1
	}
}

func (b *bitset) add(p *posting) {
	if p.bits != nil {
		for i := range b {
			b[i] |= binary.LittleEndian.Uint64(p.bits[8*i:])
		}
		return
	}
	for i := range p.n {
		n := p.at(i)
		b[n>>6] |= 1 << (n & 63)
	}
}

func (b *bitset) and(o *bitset) {
	for i := range b {
		b[i] &= o[i]
	}
}

func (b *bitset) andNot(o *bitset) {
	for i := range b {
		b[i] &^= o[i]
	}
}

// backward yields the events below end, the greatest first.
func (b *bitset) backward(end int) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i := (end+63)/64 - 1; i >= 0; i-- {
			word := b[i]
			if rest := end - i*64; rest < 64 {
				word &= 1<<rest - 1
			}
			for word != 0 {
				top := 63 - bits.LeadingZeros64(word)
				word &^= 1 << top
				if !yield(uint16(i*64 + top)) {
					return
				}
			}
		}
	}
}

// clause is one criterion in a segment: the events of any of its postings, or
// all others.
type clause struct {
	not   bool
	any   []posting
	total int // of the postings' events, at least as many as there are
}

func (c *clause) add(p posting) {
	if p.n > 0 {
		c.any = append(c.any, p)
		c.total += p.n
	}
}

func (c *clause) has(n uint16) bool {
	for i := range c.any {
		if c.any[i].has(n) {
			return true
		}
	}
	return false
}

// few is how many events a clause may have for them to be taken one by one.
const few = 2048

// backward yields the events below end of a segment with size events that are in
// all clauses, the greatest first. The two sets are its working space.
func backward(clauses []clause, size, end int, sets *[2]bitset) iter.Seq[uint16] {
	driver := -1
	for i := range clauses {
		if c := &clauses[i]; !c.not && (driver < 0 || c.total < clauses[driver].total) {
			driver = i
		}
	}
	if driver >= 0 && clauses[driver].total <= few {
		return sparse(clauses, driver, end)
	}
	acc, other := &sets[0], &sets[1]
	if driver >= 0 {
		acc.clear()
		for i := range clauses[driver].any {
			acc.add(&clauses[driver].any[i])
		}
	} else {
		acc.fill(size)
	}
	for i := range clauses {
		if i == driver {
			continue
		}
		other.clear()
		for j := range clauses[i].any {
			other.add(&clauses[i].any[j])
		}
		if clauses[i].not {
			acc.andNot(other)
		} else {
			acc.and(other)
		}
	}
	return acc.backward(end)
}

// sparse takes the events of one clause and looks for each in the others.
func sparse(clauses []clause, driver, end int) iter.Seq[uint16] {
	var all []uint16
	for i := range clauses[driver].any {
		p := &clauses[driver].any[i]
		if p.bits != nil {
			var b bitset
			b.add(p)
			for n := range b.backward(segmentEvents) {
				all = append(all, n)
			}
			continue
		}
		for j := range p.n {
			all = append(all, p.at(j))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return func(yield func(uint16) bool) {
	next:
		for _, n := range slices.Backward(all) {
			if int(n) >= end {
				continue
			}
			for i := range clauses {
				if i != driver && clauses[i].has(n) == clauses[i].not {
					continue next
				}
			}
			if !yield(n) {
				return
			}
		}
	}
}
