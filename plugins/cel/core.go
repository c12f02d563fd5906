package cel

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/plugins/cel/history"
	"github.com/epmesh/epmesh/plugins/cel/mesh"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// core holds events against rules. It is what the plugin and the offline Engine
// have in common, and may be used by many goroutines at once.
type core struct {
	store    history.Store
	mesh     *mesh.History // nil: the store is all there is
	set      atomic.Pointer[ruleSet]
	breakers breakers
	log      hclog.Logger

	// What one alert carries of the history.
	alertEvents, alertBytes int
}

// hit is a rule that holds for an event, with the history that it found.
type hit struct {
	rule    *rule
	history []*pb.Event
	missing []string // what is to be said of parts of the history that are missing
}

// use puts a rule set in the place of the one before. Events that are on their
// way go to their end with the set that they began with, so the history keeps
// what both ask for.
func (c *core) use(set *ruleSet) error {
	paths := history.Paths{Terms: set.terms, Words: set.words}
	if before := c.set.Load(); before != nil {
		paths = history.Paths{Terms: union(set.terms, before.terms), Words: union(set.words, before.words)}
	}
	err := c.store.Watch(paths)
	c.set.Store(set)
	c.breakers.keep(set)
	return err
}

// judge holds one event against the rules of its data type: the rules that hold,
// in their order, and alerts about rules that could not be evaluated.
//
// The event is kept before it is looked at, and looked at as if only what came
// before were there: of two at once each sees the other or is seen, and one that
// comes again sees what it saw.
//
// An error is the history's. Nothing is known of the event then, and judging it
// again is right.
func (c *core) judge(ctx context.Context, e *pb.Event, now time.Time) (hits []hit, broken []*pb.Alert, err error) {
	set := c.set.Load()
	var place, stamp uint64
	if set.keeps(e.DataType) {
		if place, err = c.store.Add(ctx, e, now); err != nil {
			return nil, nil, err
		}
		if c.mesh != nil {
			stamp = c.mesh.Stamp(place)
		}
	}
	g := set.byType[e.DataType]
	if g == nil {
		return nil, nil, nil
	}
	doc := expr.FromEvent(e)
	var room [16]uint64
	var fitting []fit
	searches := false
	for i, word := range g.dispatch.Candidates(doc, room[:0]) {
		for ; word != 0; word &= word - 1 {
			r := g.rules[i<<6+bits.TrailingZeros64(word)]
			if set.isDisabled(r, e.TenantId) || c.breakers.open(r, e, now) {
				continue
			}
			if holds, err := r.fits(doc); holds || err != nil {
				fitting = append(fitting, fit{r, err})
				searches = searches || err == nil && len(r.searches) > 0
			}
		}
	}
	if len(fitting) == 0 {
		return nil, nil, nil
	}
	var past *past
	if searches {
		past = c.past(ctx, fitting, e, place, stamp, windowsEnd(e, now))
		defer past.done()
	}
	for _, f := range fitting {
		holds, err := f.err == nil, f.err
		var found []*pb.Event
		if holds && len(f.rule.searches) > 0 {
			found, holds, err = f.rule.search(ctx, past)
		}
		if _, ok := errors.AsType[*historyFailed](err); ok {
			return nil, nil, err
		}
		switch {
		case err != nil:
			if a := c.breakers.failed(c.log, f.rule, e, err, now); a != nil {
				broken = append(broken, a)
			}
		case holds && len(f.rule.searches) > 0:
			hits = append(hits, hit{f.rule, found, past.missing()})
		case holds:
			hits = append(hits, hit{rule: f.rule})
		}
	}
	return hits, broken, nil
}

// fit is a rule whose condition holds for an event, or could not be evaluated.
type fit struct {
	rule *rule
	err  error
}

// windowsEnd is when the windows of searches end: when the event came in, not
// when it is looked at, so that a backlog is judged as it would have been.
func windowsEnd(e *pb.Event, now time.Time) time.Time {
	return earlier(eventTime(e, now), now)
}

// fits evaluates a rule's condition.
func (r *rule) fits(doc expr.Doc) (bool, error) {
	if r.where == nil {
		return true, nil
	}
	return r.where.Eval(doc)
}

// search runs every search of a rule; all must hold.
func (r *rule) search(ctx context.Context, p *past) ([]*pb.Event, bool, error) {
	var found []*pb.Event
	seen := map[string]bool{p.event.Id: true}
	for i := range r.searches {
		hits, ok, err := r.searches[i].run(ctx, p)
		if _, ok := errors.AsType[*historyFailed](err); ok {
			return nil, false, err
		}
		if err != nil {
			return nil, false, missingError{err}
		}
		if !ok {
			return nil, false, nil
		}
		for _, h := range hits {
			if !seen[h.Id] {
				seen[h.Id] = true
				found = append(found, h)
			}
		}
	}
	return found, true, nil
}

// missingError is an error of a search: the event lacks what a placeholder
// stands for.
type missingError struct{ error }

func (e missingError) Unwrap() error { return e.error }

// alert makes the alert of a hit.
func (c *core) alert(h hit, e *pb.Event, now time.Time) *pb.Alert {
	a := newAlert(h.rule, e, h.history, now, c.alertEvents, c.alertBytes)
	a.Errors = h.missing
	return a
}

// union are the texts of both lists, sorted.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
