package cel

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/plugins/cel/history"
	"github.com/epmesh/epmesh/plugins/cel/mesh"
	pb "github.com/epmesh/epmesh/proto"
)

// past is what came before one event, for the searches of rules that hold for it:
// what the store has and, where there are other nodes, what these have. It is used
// by one goroutine.
type past struct {
	store history.Store
	event *pb.Event
	place uint64
	end   time.Time // of the windows
	limit int

	round *mesh.Round // nil: there is nobody to ask
	asked map[*search]int
}

// past asks the other nodes all searches of the rules at once, those under or too.
func (c *core) past(ctx context.Context, fitting []fit, e *pb.Event, place, stamp uint64, end time.Time) *past {
	p := &past{store: c.store, event: e, place: place, end: end, limit: c.alertEvents}
	if c.mesh == nil || c.mesh.Alone() {
		return p
	}
	p.asked = map[*search]int{}
	var queries []history.Query
	var add func(list []search)
	add = func(list []search) {
		for i := range list {
			// One that lacks a value fails when it is its turn.
			if q, err := p.query(&list[i]); err == nil {
				p.asked[&list[i]] = len(queries)
				queries = append(queries, q)
			}
			add(list[i].or)
		}
	}
	for _, f := range fitting {
		if f.err == nil {
			add(f.rule.searches)
		}
	}
	p.round = c.mesh.Ask(ctx, e.Id, stamp, queries)
	return p
}

// find does one search. An error is the store's.
func (p *past) find(ctx context.Context, s *search, q history.Query) (history.Result, error) {
	if p.round != nil {
		if i, ok := p.asked[s]; ok {
			return p.round.Search(ctx, i)
		}
	}
	return p.store.Search(ctx, q)
}

// missing says whose events the searches did not see.
func (p *past) missing() []string {
	if p.round == nil {
		return nil
	}
	return p.round.Missing()
}

func (p *past) done() {
	if p.round != nil {
		p.round.Done()
	}
}
