package incidents

import (
	"context"

	"golang.org/x/sync/errgroup"
)

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
