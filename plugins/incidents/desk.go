package incidents

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

const (
	// maxBatch is how many alerts are entered by one write.
	maxBatch = 64
	// turnTime bounds one attempt at that; a server that is away is waited for
	// longer, attempt after attempt.
	turnTime = 5 * time.Second
	// waitMin and waitMax are the pauses after a conflict, waitAway after an error.
	waitMin  = time.Millisecond
	waitMax  = 50 * time.Millisecond
	waitAway = 250 * time.Millisecond
	// recordsAtOnce is how many records are written side by side.
	recordsAtOnce = 32
)

// counts are what the ledger did, for tests and benchmarks.
type counts struct{ writes, conflicts, records, lookups atomic.Int64 }

// op is one alert on its way into a group.
type op struct {
	facts *facts
	claim *claim // the first that it equals; nil for an alert that is none's duplicate
	// none is how many alerts of the group had records when this one had none: as
	// long as there are no more, it still has none.
	none int

	ctx  context.Context
	done chan struct{} // closed once out and err are there
	out  outcome
	err  error
}

// desk is the alerts that wait for one group.
type desk struct {
	key   string
	queue []*op
}

// submit enters an alert into a group and returns what became of it.
func (l *ledger) submit(ctx context.Context, key string, o *op) (outcome, error) {
	o.ctx, o.done = ctx, make(chan struct{})
	l.mu.Lock()
	d := l.desks[key]
	if d == nil {
		d = &desk{key: key}
		l.desks[key] = d
		l.work.Go(func() { l.serve(d) })
	}
	d.queue = append(d.queue, o)
	l.mu.Unlock()
	select {
	case <-o.done:
		return o.out, o.err
	case <-ctx.Done():
		return outcome{}, fmt.Errorf("state of %s: %w", key, ctx.Err())
	}
}

// serve enters alerts, however often that takes, until nobody waits for any. Those
// that come while a write fails go with the next.
func (l *ledger) serve(d *desk) {
	var batch []*op
	l.mu.Lock()
	g, have := l.groups.get(d.key)
	l.mu.Unlock()
	for wait, first, told := waitMin, true, false; ; first = false {
		if batch = l.fill(d, batch); len(batch) == 0 {
			return
		}
		if first && !have && batch[0].claim == nil {
			// Most likely it is not there: the write will show.
			g, have = seen[*group]{value: new(group)}, true
		}
		ctx, cancel := context.WithTimeout(l.ctx, turnTime)
		var err error
		if !have {
			g, err = l.read(ctx, d.key)
		}
		if err == nil {
			g, batch, err = l.turn(ctx, d.key, g, batch)
		}
		cancel()
		if have = err == nil; have {
			l.mu.Lock()
			l.groups.put(d.key, g)
			l.mu.Unlock()
			wait, told = waitMin, false
			continue
		}
		pause := wait/2 + rand.N(wait)
		switch {
		case errors.Is(err, bridge.ErrConflict):
			l.count.conflicts.Add(1)
			wait = min(2*wait, waitMax)
		case errors.Is(err, errUnreadable):
			for _, o := range batch {
				o.err = err
				close(o.done)
			}
			batch, pause = nil, 0
		default:
			if pause = l.away; !told {
				told = true
				l.log.Warn("state cannot be changed, trying again", "key", d.key, "error", err)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
		}
	}
}

// fill drops from a batch those that nobody waits for any more, and adds what has
// come. Where nothing is left the desk is closed.
func (l *ledger) fill(d *desk, batch []*op) []*op {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next []*op
	for _, o := range batch {
		if o.ctx.Err() == nil {
			next = append(next, o)
		}
	}
	for len(d.queue) > 0 && len(next) < maxBatch {
		if o := d.queue[0]; o.ctx.Err() == nil {
			next = append(next, o)
		}
		d.queue = d.queue[1:]
	}
	if len(next) == 0 || l.ctx.Err() != nil {
		delete(l.desks, d.key)
		return nil
	}
	return next
}

// turn enters a batch into a group as it was read, by one write. It returns the
// group as it is then and those that are left for the next turn.
func (l *ledger) turn(ctx context.Context, key string, g seen[*group], batch []*op) (seen[*group], []*op, error) {
	known, err := l.lookUp(ctx, g.value, batch)
	if err != nil {
		return g, batch, err
	}
	next, fresh := g.value.clone(), 0 // fresh entries are not in the state yet
	old := len(next.Recent)
	closed := -1 // how many entries are of an incident that another follows
	var done, left []*op
	for n, o := range batch {
		if !l.enter(next, o, known[o], func() bool {
			if fresh > 0 || closed >= 0 {
				return false
			}
			closed = old
			return true
		}) {
			left = batch[n:]
			break
		}
		fresh = len(next.Recent) - old
		done = append(done, o)
	}
	if fresh > 0 {
		if err := l.makeRoom(ctx, key, g.value, next, old, closed, done[0].facts.alert.TenantId); err != nil {
			return g, batch, err
		}
		text, err := next.encode()
		if err != nil {
			return g, batch, fmt.Errorf("encode state: %w", err)
		}
		l.count.writes.Add(1)
		revision, err := l.store.Put(ctx, key, text, g.revision, l.keep()+keepLonger)
		if err != nil {
			return g, batch, err
		}
		g = seen[*group]{next, revision}
	}
	for _, o := range done {
		close(o.done)
	}
	return g, left, nil
}
