package mesh

import (
	"slices"
	"sync"
	"time"
)

// order gives the places of this instance's store their stamps. A stamp is
// nanoseconds of a clock that is as far ahead as the furthest of all nodes, and
// above every stamp that was seen before it.
type order struct {
	mu   sync.Mutex
	last uint64        // the newest stamp, given or seen
	lead time.Duration // of the clock before this machine's
	wall func() time.Time

	first uint64   // the place of stamps[0]; what is before it has no stamp
	stamp []uint64 // of each place, never falling
}

const (
	// maxStamped is how many places have a stamp. Older ones are before all
	// others.
	maxStamped = 1 << 16
	// maxLead is how far ahead another's clock is followed: one that is further
	// is wrong, and its stamps are too.
	maxLead = 10 * 365 * 24 * time.Hour
)

func newOrder(next uint64, wall func() time.Time) *order { return &order{first: next, wall: wall} }

// now is the clock; mu must be held.
func (o *order) now() uint64 { return uint64(o.wall().Add(o.lead).UnixNano()) }

// clock is a stamp for what is no event.
func (o *order) clock() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(o.now(), o.last)
}

// of is the stamp of an event that is kept in a place, the same each time; where it
// is not known any more, it is a new one.
func (o *order) of(place uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if place < o.first {
		o.last = max(o.now(), o.last+1)
		return o.last
	}
	if next := o.first + uint64(len(o.stamp)); place >= next {
		o.last = max(o.now(), o.last+1)
		// What has a smaller place is kept too, though its caller may not have
		// heard of it yet.
		for ; next <= place; next++ {
			o.stamp = append(o.stamp, o.last)
		}
		if len(o.stamp) > 2*maxStamped {
			gone := len(o.stamp) - maxStamped
			o.stamp = append(o.stamp[:0], o.stamp[gone:]...)
			o.first += uint64(gone)
		}
		return o.last
	}
	return o.stamp[place-o.first]
}

// saw sets the clock by a stamp of another, and tells this clock: what is kept from
// now on is after both. It is false for a stamp that cannot be.
func (o *order) saw(stamp uint64) (now uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	wall := o.wall()
	if stamp > uint64(wall.Add(maxLead).UnixNano()) {
		return 0, false
	}
	now = max(o.now(), o.last)
	o.last = max(o.last, stamp)
	o.lead = max(o.lead, time.Duration(int64(stamp)-wall.UnixNano()))
	return now, true
}

// before is the place at which those begin that are not before a stamp. Of equal
// ones, ours are before those of others where mine is true.
func (o *order) before(stamp uint64, mine bool) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if mine {
		stamp++
	}
	n, _ := slices.BinarySearch(o.stamp, stamp)
	return o.first + uint64(n)
}

// at is the stamp of a place, 0 where it has none.
func (o *order) at(place uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if place < o.first || place-o.first >= uint64(len(o.stamp)) {
		return 0
	}
	return o.stamp[place-o.first]
}
