package incidents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"golang.org/x/sync/errgroup"
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

// known is what became of an alert of a batch before, and of the first it equals.
type known struct {
	out   *outcome
	first *entry
}

// lookUp is what the group as it was read remembers of a batch, and for what it
// does not remember, the records that may be there.
func (l *ledger) lookUp(ctx context.Context, g *group, batch []*op) (map[*op]known, error) {
	found := make([]known, len(batch))
	var reads errgroup.Group
	reads.SetLimit(recordsAtOnce)
	for n, o := range batch {
		if e := g.find(o.facts.id); e != nil {
			// With the incident of now: the batch may open another.
			out := g.outcome(*e)
			found[n].out = &out
		} else if g.moved(o.facts.raised) && o.none != g.Gone {
			reads.Go(func() error {
				l.count.lookups.Add(1)
				out, ok, err := l.recorded(ctx, o.facts, g)
				if ok {
					found[n].out = &out
				} else if err == nil {
					o.none = g.Gone
				}
				return err
			})
		}
		if c := o.claim; c != nil && g.find(c.Alert) == nil {
			key := recordKey(o.facts.alert.TenantId, c.Alert)
			l.mu.Lock()
			_, ok := l.first.get(key)
			l.mu.Unlock()
			if ok {
				found[n].first = &entry{Kind: joined}
				continue
			}
			if !g.moved(c.Raised) {
				continue
			}
			reads.Go(func() error {
				l.count.lookups.Add(1)
				r, ok, err := l.recordOf(ctx, key)
				if !ok || err != nil {
					return err
				}
				found[n].first = &r.Entry
				if r.Entry.Kind != duplicate {
					l.mu.Lock()
					l.first.put(key, true)
					l.mu.Unlock()
				}
				return nil
			})
		}
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	all := make(map[*op]known, len(batch))
	for n, o := range batch {
		all[o] = found[n]
	}
	return all, nil
}

// enter decides on one alert, in a group that may be changed. closing asks
// whether the incident may make room for another now; where not, enter reports
// false and has changed nothing.
func (l *ledger) enter(g *group, o *op, k known, closing func() bool) bool {
	f := o.facts
	o.err = nil
	if k.out != nil {
		o.out = *k.out
		return true
	}
	if e := g.find(f.id); e != nil { // twice in this batch
		o.out = g.outcome(*e)
		return true
	}
	if o.claim != nil {
		first := k.first
		if e := g.find(o.claim.Alert); e != nil {
			first = e
		}
		switch {
		case first != nil && first.Kind == duplicate:
			o.err = errVoid
		case first == nil && l.now().UnixMilli()-o.claim.Made >= takeOver.Milliseconds():
			// Entered as a duplicate, it cannot become the first any more.
			g.repeat(o.claim.Alert, f.id, o.claim.Raised, o.claim.At, l.settings)
			o.err = errVoid
		default:
			o.out = g.outcome(g.repeat(f.id, o.claim.Alert, f.raised, f.at, l.settings))
		}
		return true
	}
	if g.Incident != nil && !g.open(f.at, l.settings) && !closing() {
		return false
	}
	o.out = g.outcome(g.add(f, l.settings))
	return true
}

// makeRoom gives records of their own to alerts that the group remembers in the
// state and is not to any more: the oldest where there are more than maxRecent, or
// where an incident was closed all of it. The records come first: an alert is in
// one of the two at any time.
func (l *ledger) makeRoom(ctx context.Context, groupKey string, was, next *group, old, closed int, tenant string) error {
	n := 0
	// All who write to a group at once come to this; one of them will do.
	if len(next.Recent) > mustForget || len(next.Recent) > maxRecent && rand.N(4) == 0 {
		n = min(old, len(next.Recent)-keepRecent)
	}
	if closed >= 0 {
		n = closed
		if err := l.keepIncident(ctx, incidentKey(tenant, was.Incident.Parent), was.Incident); err != nil {
			return err
		}
	}
	var writes errgroup.Group
	writes.SetLimit(recordsAtOnce)
	for _, e := range next.Recent[:n] {
		key := recordKey(tenant, e.ID)
		l.mu.Lock()
		_, there := l.records.get(key)
		l.mu.Unlock()
		if there {
			continue // from a turn that failed after it
		}
		writes.Go(func() error {
			text, err := json.Marshal(record{e, groupKey})
			if err != nil {
				return fmt.Errorf("encode state: %w", err)
			}
			l.count.records.Add(1)
			_, err = l.store.Put(ctx, key, text, 0, l.keep()+keepLonger)
			if err != nil && !errors.Is(err, bridge.ErrConflict) {
				return err
			}
			// Where another has done it, it has written the same.
			l.mu.Lock()
			l.records.put(key, true)
			l.mu.Unlock()
			return nil
		})
	}
	if err := writes.Wait(); err != nil {
		return err
	}
	next.forget(n)
	return nil
}

// keepIncident writes what is known of an incident that another follows. Who
// knows more of it is not written over: this may be a late reader, whose write of
// the group will fail.
func (l *ledger) keepIncident(ctx context.Context, key string, i *incident) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	old, err := l.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if old.Value != nil {
		var before incident
		if err := decode(old.Value, &before); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if before.Alerts >= i.Alerts {
			return nil
		}
	}
	_, err = l.store.Put(ctx, key, text, old.Revision, l.keep()+keepLonger)
	return err
}
