package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// adding is one call of Add.
type adding struct {
	kind    string // the data type
	keyer   *keyer
	keys    []uint64
	body    []byte
	when    int64
	arrived int64
	done    chan struct{} // has one when place and err are there

	place uint64
	err   error
	twin  *adding // one with the same id before it

	scratch []byte
}

// addings are used again. Those whose callers left before the answer are not, for
// the committer has them still.
var addings = sync.Pool{New: func() any { return &adding{done: make(chan struct{}, 1)} }}

// watching is one call of Watch.
type watching struct {
	paths Paths
	err   chan error
}

// A commit has at most so many calls and bytes, but for a last large event.
const (
	commitCalls = 512
	commitBytes = 1 << 20
)

// Add implements [Store]. Calls that come together share one write and, where
// that is asked for, one sync.
func (d *Disk) Add(ctx context.Context, e *pb.Event, now time.Time) (uint64, error) {
	a := addings.Get().(*adding)
	var err error
	if a.body, err = (proto.MarshalOptions{}).MarshalAppend(a.body[:0], e); err != nil {
		return 0, fmt.Errorf("history: encode event: %w", err)
	}
	if len(a.body) > maxEventSize {
		return 0, fmt.Errorf("history: event %s has %d bytes, more than %d", e.Id, len(a.body), maxEventSize)
	}
	a.kind, a.when, a.arrived = e.DataType, When(e, now), now.UnixMilli()
	a.place, a.err, a.twin, a.keyer = 0, nil, nil, nil
	d.mu.RLock()
	if d.view != nil {
		a.keyer = d.view.parts[len(d.view.parts)-1].(*live).keyer
	}
	d.mu.RUnlock()
	if a.keyer == nil {
		return 0, ErrClosed
	}
	a.keys = a.keyer.keys(e, a.keys[:0], &a.scratch)
	select {
	case d.adds <- a:
	case <-d.quit:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case <-a.done:
		place, err := a.place, a.err
		if cap(a.body) <= 1<<16 && cap(a.keys) <= 1<<12 {
			addings.Put(a)
		}
		return place, err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-d.quit:
		return 0, ErrClosed
	}
}

// Watch implements [Store]. Segments that have no index of a path get one in the
// background; until then, searches read their events.
func (d *Disk) Watch(p Paths) error {
	w := watching{paths: p, err: make(chan error, 1)}
	select {
	case d.watches <- w:
		return <-w.err
	case <-d.quit:
		return ErrClosed
	}
}

// commitLoop is the only one that writes events.
func (d *Disk) commitLoop() {
	c := &committer{Disk: d, pending: map[uint64]*adding{}}
	tick := time.NewTicker(min(max(d.options.MaxAge/32, time.Second), time.Minute))
	defer tick.Stop()
	for {
		select {
		case a := <-d.adds:
			c.batch = append(c.batch[:0], a)
			bytes := len(a.body)
		gather:
			for len(c.batch) < commitCalls && bytes < commitBytes {
				select {
				case a := <-d.adds:
					c.batch = append(c.batch, a)
					bytes += len(a.body)
				default:
					break gather
				}
			}
			c.commit()
			clear(c.batch)
		case w := <-d.watches:
			w.err <- c.watch(w.paths)
		case now := <-tick.C:
			// Where nothing comes, what came goes nevertheless.
			if c.aged(now.UnixMilli()) {
				d.done("begin", c.active.base, c.roll(c.active.keyer.paths))
			}
		case <-d.quit:
			return
		}
	}
}

// committer is what the commit loop works with.
type committer struct {
	*Disk
	batch   []*adding
	run     []*adding // those of the batch that go into the journal next
	records []byte
	pending map[uint64]*adding // run, by the key of the id
	broken  bool               // the journal has an end that could not be cut

	unchecked int64 // bytes added since there was a look for room
	checked   int64 // when that was
}

// roomEvery is after how many bytes there is a look for room.
const roomEvery = 1 << 20

// commit gives every call of the batch its place.
func (c *committer) commit() {
	now := c.batch[len(c.batch)-1].arrived
	if c.unchecked > roomEvery || now-c.checked >= 1000 || now < c.checked {
		c.room(commitBytes, time.UnixMilli(now))
		c.unchecked, c.checked = 0, now
	}
	for _, a := range c.batch {
		c.unchecked += int64(len(a.body))
		c.take(a)
	}
	c.flush()
	for _, a := range c.batch {
		if a.twin != nil {
			a.place, a.err = a.twin.place, a.twin.err
		}
	}
	for _, a := range c.batch {
		a.done <- struct{}{} // its caller has it from here on
	}
}

func (c *committer) take(a *adding) {
	id := a.keys[0]
	if twin := c.pending[id]; twin != nil {
		a.twin = twin
		return
	}
	place, known, err := c.placeOf(id)
	if err != nil {
		a.err = fmt.Errorf("history: look for the id of an event: %w", err)
		return
	}
	if known {
		a.place = place
		return
	}
	if c.full(a) {
		c.flush()
		if err := c.roll(c.active.keyer.paths); err != nil {
			a.err = fmt.Errorf("history: begin a segment: %w", err)
			return
		}
	}
	if a.keyer != c.active.keyer {
		// The caller may have given up and changed its event, so it is read anew.
		e := new(pb.Event)
		if err := proto.Unmarshal(a.body, e); err != nil {
			a.err = fmt.Errorf("history: decode event: %w", err)
			return
		}
		var scratch []byte
		a.keys = c.active.keyer.keys(e, a.keys[:0], &scratch)
	}
	c.records = appendRecord(c.records, a.when, a.arrived, a.body)
	c.run = append(c.run, a)
	c.pending[id] = a
}

// full is whether an event has to go into the next segment.
func (c *committer) full(a *adding) bool {
	l := c.active
	n := l.count() + len(c.run)
	if c.broken {
		return true
	}
	return n > 0 && (n >= c.options.events ||
		l.journal.size+int64(len(c.records)+len(a.body)) > c.Disk.journal ||
		len(l.index.lists) > maxKeys ||
		c.aged(a.arrived))
}

// aged is whether the segment has been growing for so long that it should go on
// its own.
func (c *committer) aged(now int64) bool {
	return c.active.count() > 0 && now-c.active.index.began > c.options.MaxAge.Milliseconds()/16
}

// flush writes and indexes the run.
func (c *committer) flush() {
	if len(c.run) == 0 {
		return
	}
	l := c.active
	c.writes.Add(1)
	broken, err := l.journal.append(c.records, c.options.Sync == 0)
	if err != nil {
		c.broken = c.broken || broken
		for _, a := range c.run {
			a.err = fmt.Errorf("history: write event: %w", err)
		}
	} else {
		l.mu.Lock()
		for _, a := range c.run {
			a.place = l.base + uint64(l.count())
			l.put(a.keys, a.kind, a.when, a.arrived, len(a.body))
		}
		l.mu.Unlock()
	}
	clear(c.run)
	clear(c.pending)
	c.run, c.records = c.run[:0], c.records[:0]
	if cap(c.records) > 8<<20 {
		c.records = nil
	}
}

// placeOf finds an event by the key of its id.
func (c *committer) placeOf(id uint64) (place uint64, known bool, err error) {
	v := c.acquire()
	defer v.release()
	defer guard(&err)()
	for _, p := range slices.Backward(v.parts) {
		if !p.mayHave(id) {
			continue
		}
		p.lock()
		found, err := p.find(id)
		p.unlock()
		if err != nil {
			return 0, false, err
		}
		if found.n > 0 {
			return p.start() + uint64(found.at(0)), true, nil
		}
	}
	return 0, false, nil
}

// maxUnsealed is how many full segments may wait to be sealed.
const maxUnsealed = 2

var errBusy = errors.New("full segments cannot be written as fast as events come")

// roll begins a segment.
func (c *committer) roll(p Paths) error {
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	for c.unsealed() > maxUnsealed {
		c.poke(c.wake)
		select {
		case <-c.settled:
		case <-patience.C:
			return errBusy
		case <-c.quit:
			return ErrClosed
		}
	}
	base := c.active.base + uint64(c.active.count())
	next, err := c.begin(base, p)
	if err != nil {
		return err
	}
	c.change.Lock()
	parts := c.Disk.view.parts
	if c.active.count() == 0 {
		parts = parts[:len(parts)-1] // its file is the next one's now
	}
	c.publish(append(slices.Clone(parts), next))
	c.active = next
	c.change.Unlock()
	c.broken = false
	c.poke(c.wake)
	return nil
}

// begin makes an empty segment.
func (d *Disk) begin(base uint64, p Paths) (*live, error) {
	k := newKeyer(d.secret, p)
	j, err := createJournal(d.file(base, journalSuffix), base, k.paths)
	if err != nil {
		return nil, err
	}
	return newLive(base, k, j), nil
}

// unsealed counts the segments in memory.
func (d *Disk) unsealed() (n int) {
	v := d.acquire()
	defer v.release()
	for _, p := range v.parts {
		if _, ok := p.(*live); ok {
			n++
		}
	}
	return n
}

func (c *committer) watch(p Paths) error {
	c.Disk.paths.Store(&p)
	defer c.poke(c.wake)
	if c.active.keyer.paths.covers(p) {
		return nil
	}
	if err := c.roll(p); err != nil {
		return fmt.Errorf("history: begin a segment: %w", err)
	}
	return nil
}
