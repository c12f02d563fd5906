package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "github.com/epmesh/epmesh/proto"
)

// finder is one search on its way through the segments.
type finder struct {
	*compiled
	ctx      context.Context
	secret   *secret
	deadline time.Time
	keys     [][]uint64 // of each criterion
	typeKeys map[string]uint64

	hits    []hit
	total   int
	clauses []clause
	reader  reader
	space   *space
}

// hit is an event that fits.
type hit struct {
	part part
	n    int
}

// space is what a search works in.
type space struct {
	sets    [2]bitset
	scratch []byte
	buffer  []byte
}

var spaces = sync.Pool{New: func() any { return new(space) }}

// Search implements [Store]. A full segment that turns out to be damaged is put
// aside, and the search is done without it, as if it had been so from the start.
func (d *Disk) Search(ctx context.Context, q Query) (Result, error) {
	deadline := time.Now().Add(d.options.SearchTime)
	for {
		r, at, err := d.search(ctx, q, deadline)
		if s, ok := at.(*sealed); ok && errors.Is(err, errDamaged) && d.condemn(s, err) {
			continue
		}
		return r, err
	}
}

// search is Search over the segments as they are. With an error comes the segment
// that it is about, if it is about one.
func (d *Disk) search(ctx context.Context, q Query, deadline time.Time) (r Result, at part, err error) {
	v := d.acquire()
	if v == nil {
		return r, nil, ErrClosed
	}
	defer v.release()
	defer guard(&err)()
	f := finder{
		compiled: compile(q), ctx: ctx, secret: &d.secret,
		deadline: deadline, typeKeys: map[string]uint64{}, space: spaces.Get().(*space),
	}
	defer spaces.Put(f.space)
	f.reader.buffer = f.space.buffer
	defer func() { f.space.buffer = f.reader.buffer }()
	for i := range f.with {
		f.keys = append(f.keys, f.keysOf(&f.with[i]))
	}
	for i, p := range slices.Backward(v.parts) {
		if f.total >= max(1, f.enough()) {
			break
		}
		if err := f.look(p); err != nil {
			return r, p, fmt.Errorf("history: segment %d of %d from the newest: %w", len(v.parts)-i, len(v.parts), err)
		}
	}
	r.Total = f.total
	if r.Total < q.Want && !q.Share {
		return r, nil, nil
	}
	for _, h := range f.hits {
		e, err := f.event(h)
		if err != nil {
			return Result{}, h.part, fmt.Errorf("history: read event: %w", err)
		}
		r.Events = append(r.Events, e)
		r.Places = append(r.Places, h.part.start()+uint64(h.n))
	}
	return r, nil, nil
}

func (f *finder) keysOf(t *test) (keys []uint64) {
	if !t.Match {
		return []uint64{f.secret.key(ofTerm, t.Path, t.Text, &f.space.scratch)}
	}
	for _, w := range t.words {
		keys = append(keys, f.secret.key(ofWord, t.Path, w, &f.space.scratch))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (f *finder) event(h hit) (*pb.Event, error) {
	h.part.lock()
	defer h.part.unlock()
	return h.part.event(h.n, &f.reader)
}

// inTime says when it is time to give up.
func (f *finder) inTime() error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	if time.Now().After(f.deadline) {
		return ErrTooLong
	}
	return nil
}

// look finds what fits in a segment.
func (f *finder) look(p part) error {
	base := p.start()
	if base >= f.Before {
		return nil
	}
	if err := f.inTime(); err != nil {
		return err
	}
	p.lock()
	defer p.unlock()
	size := p.count()
	oldest, newest := p.span()
	if size == 0 || newest < f.since {
		return nil
	}
	none, scan, err := f.narrow(p, size)
	if none || err != nil {
		return err
	}
	end := size
	if f.Before-base < uint64(size) {
		end = int(f.Before - base)
	}
	read := 0
	for n := range backward(f.clauses, size, end, &f.space.sets) {
		if oldest < f.since && p.time(int(n)) < f.since {
			continue
		}
		if scan {
			if read++; read%64 == 0 {
				if err := f.inTime(); err != nil {
					return err
				}
			}
			e, err := p.event(int(n), &f.reader)
			if err != nil {
				return err
			}
			if !f.fits(e) {
				continue
			}
		}
		f.total++
		if len(f.hits) < f.Limit {
			f.hits = append(f.hits, hit{p, int(n)})
		}
		if f.total >= f.enough() {
			break
		}
	}
	return nil
}

// narrow makes the clauses of a segment, or finds that nothing in it fits. Scan
// is whether there are criteria for which it has no index.
func (f *finder) narrow(p part, size int) (none, scan bool, err error) {
	f.clauses = f.clauses[:0]
	if none, err = f.narrowTypes(p); none || err != nil {
		return none, false, err
	}
	paths := p.paths()
	for i := range f.with {
		t := &f.with[i]
		if !paths.has(&t.Criterion) {
			scan = true
			continue
		}
		c := clause{not: t.Not}
		for _, k := range f.keys[i] {
			posting, err := p.find(k)
			if err != nil {
				return false, false, err
			}
			c.add(posting)
		}
		switch {
		case c.total == 0 && !c.not:
			return true, false, nil
		case c.total == 0, len(c.any) == 1 && c.total == size && !c.not:
			continue // all events
		}
		f.clauses = append(f.clauses, c)
	}
	return false, scan, nil
}

func (f *finder) narrowTypes(p part) (none bool, err error) {
	types := p.types()
	var c clause
	covered := 0
	for _, t := range types {
		if !f.covers(t) {
			continue
		}
		covered++
		k, ok := f.typeKeys[t]
		if !ok {
			k = f.secret.key(ofTerm, typePath, t, &f.space.scratch)
			f.typeKeys[t] = k
		}
		posting, err := p.find(k)
		if err != nil {
			return false, err
		}
		c.add(posting)
	}
	if covered == 0 {
		return true, nil
	}
	if covered < len(types) {
		f.clauses = append(f.clauses, c)
	}
	return false, nil
}
