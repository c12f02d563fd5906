package geolocation

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// table says for each address which record holds, 0 for none. It keeps where
// each run of equal addresses begins: 8 bytes a run of IPv4, 20 of IPv6.
type table struct {
	starts4  []uint32
	records4 []uint32
	first4   [1<<16 + 1]uint32 // of the runs that begin in each /16 or later
	starts6  []wide
	records6 []uint32
}

// wide is an IPv6 address as a number.
type wide struct{ high, low uint64 }

func (w wide) less(o wide) bool { return w.high < o.high || w.high == o.high && w.low < o.low }

func wideOf(ip netip.Addr) wide {
	b := ip.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func narrowOf(ip netip.Addr) uint32 {
	b := ip.As4()
	return binary.BigEndian.Uint32(b[:])
}

// find is the record of an address, which is no IPv4-mapped one.
func (t *table) find(ip netip.Addr) uint32 {
	if ip.Is4() {
		if len(t.starts4) == 0 {
			return 0
		}
		n := narrowOf(ip)
		// The last run that begins at n or before is in this /16, or is the last
		// one before it.
		low, high := t.first4[n>>16], t.first4[n>>16+1]
		i, found := slices.BinarySearch(t.starts4[low:high], n)
		i += int(low)
		if !found {
			i--
		}
		if i < 0 {
			return 0
		}
		return t.records4[i]
	}
	n := wideOf(ip)
	i := sort.Search(len(t.starts6), func(i int) bool { return n.less(t.starts6[i]) }) - 1
	if i < 0 {
		return 0
	}
	return t.records6[i]
}

func (t *table) bytes() int {
	return 8*len(t.starts4) + 4*len(t.first4) + 20*len(t.starts6)
}

// builder collects networks in any order.
type builder struct {
	four []block4
	six  []block6
}

type block4 struct {
	start, record uint32
	bits          uint8
}

type block6 struct {
	start  wide
	record uint32
	bits   uint8
}

func (b *builder) add(p netip.Prefix, record uint32) {
	if p.Addr().Is4() {
		b.four = append(b.four, block4{narrowOf(p.Addr()), record, uint8(p.Bits())})
		return
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		b.add(netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), record)
		return
	}
	b.six = append(b.six, block6{wideOf(p.Addr()), record, uint8(p.Bits())})
}

// build makes the table. Of networks one within the other the narrower holds; of
// one network said twice, the later.
func (b *builder) build() *table {
	t := new(table)
	b.build4(t)
	b.four = nil
	b.build6(t)
	return t
}

// runs are where stretches of addresses with one record begin, in order.
type runs[A comparable] struct {
	starts  []A
	records []uint32
}

func newRuns[A comparable](blocks int) *runs[A] {
	return &runs[A]{starts: make([]A, 0, blocks+1), records: make([]uint32, 0, blocks+1)}
}

// begin begins a run; what began at the same place is replaced.
func (r *runs[A]) begin(start A, record uint32) {
	n := len(r.starts)
	if n > 0 && r.starts[n-1] == start {
		r.records[n-1] = record
		if n > 1 && r.records[n-2] == record {
			r.starts, r.records = r.starts[:n-1], r.records[:n-1]
		}
		return
	}
	if n > 0 && r.records[n-1] == record || n == 0 && record == 0 {
		return
	}
	r.starts, r.records = append(r.starts, start), append(r.records, record)
}

func (b *builder) build4(t *table) {
	order := func(x, y block4) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.bits, y.bits))
	}
	if !slices.IsSortedFunc(b.four, order) {
		slices.SortStableFunc(b.four, order)
	}
	r := newRuns[uint32](len(b.four))
	type open struct {
		end    uint64 // the first address behind it
		record uint32
	}
	var stack []open
	closeUpTo := func(limit uint64) {
		for len(stack) > 0 && stack[len(stack)-1].end <= limit {
			end := stack[len(stack)-1].end
			stack = stack[:len(stack)-1]
			outer := uint32(0)
			if len(stack) > 0 {
				outer = stack[len(stack)-1].record
			}
			if end <= 1<<32-1 {
				r.begin(uint32(end), outer)
			}
		}
	}
	for _, block := range b.four {
		closeUpTo(uint64(block.start))
		r.begin(block.start, block.record)
		stack = append(stack, open{uint64(block.start) + 1<<(32-block.bits), block.record})
	}
	closeUpTo(1 << 32)
	t.starts4, t.records4 = slices.Clip(r.starts), slices.Clip(r.records)
	i := 0
	for n := range t.first4 {
		for i < len(r.starts) && uint64(r.starts[i]) < uint64(n)<<16 {
			i++
		}
		t.first4[n] = uint32(i)
	}
}

func (b *builder) build6(t *table) {
	order := func(x, y block6) int {
		return cmp.Or(cmp.Compare(x.start.high, y.start.high), cmp.Compare(x.start.low, y.start.low), cmp.Compare(x.bits, y.bits))
	}
	if !slices.IsSortedFunc(b.six, order) {
		slices.SortStableFunc(b.six, order)
	}
	r := newRuns[wide](len(b.six))
	type open struct {
		last   wide // the last address in it
		record uint32
	}
	var stack []open
	closeBefore := func(limit wide, all bool) {
		for len(stack) > 0 && (all || stack[len(stack)-1].last.less(limit)) {
			last := stack[len(stack)-1].last
			stack = stack[:len(stack)-1]
			outer := uint32(0)
			if len(stack) > 0 {
				outer = stack[len(stack)-1].record
			}
			next := wide{last.high, last.low + 1}
			if next.low == 0 {
				next.high++
			}
			if next != (wide{}) { // behind the last address of all there is none
				r.begin(next, outer)
			}
		}
	}
	for _, block := range b.six {
		closeBefore(block.start, false)
		r.begin(block.start, block.record)
		last := block.start
		if block.bits < 64 {
			last.high |= ^uint64(0) >> block.bits
			last.low = ^uint64(0)
		} else if block.bits < 128 {
			last.low |= ^uint64(0) >> (block.bits - 64)
		}
		stack = append(stack, open{last, block.record})
	}
	closeBefore(wide{}, true)
	t.starts6, t.records6 = slices.Clip(r.starts), slices.Clip(r.records)
}
