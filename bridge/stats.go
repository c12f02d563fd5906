package bridge

import "sync/atomic"

// Stats count the items of one consumer on this node since it began. At any
// moment in = out + dropped + dead + returned + in flight.
type Stats struct {
	in, out, dropped, dead, returned atomic.Int64

	retried, produced, newer atomic.Int64

	run atomic.Pointer[run] // that serves it now
}

// Counts are what Stats hold at one moment.
type Counts struct {
	In       int64 `json:"in"`       // taken from the stream
	Out      int64 `json:"out"`      // done, with what came of them stored
	Dropped  int64 `json:"dropped"`  // discarded on purpose
	Dead     int64 `json:"dead"`     // in the dead letters
	Returned int64 `json:"returned"` // given back to the stream undone
	InFlight int64 `json:"in_flight"`

	Retried  int64 `json:"retried"`  // attempts beyond an item's first
	Produced int64 `json:"produced"` // outputs stored
	Newer    int64 `json:"newer"`    // messages left for a newer node

	// Ahead of the items in flight wait for the others.
	Ahead int64 `json:"ahead"`
	// Limit is how many calls may be with the plugin at once now; 0 where that is
	// not adapted, or nothing is served.
	Limit int64 `json:"limit"`
}

// serve says which run counts here; nil for none.
func (s *Stats) serve(r *run) { s.run.Store(r) }

// Snapshot reads the counters. In flight is derived, so that the sum holds.
func (s *Stats) Snapshot() Counts {
	c := Counts{
		Out: s.out.Load(), Dropped: s.dropped.Load(), Dead: s.dead.Load(), Returned: s.returned.Load(),
		Retried: s.retried.Load(), Produced: s.produced.Load(), Newer: s.newer.Load(),
	}
	c.In = s.in.Load()
	c.InFlight = c.In - c.Out - c.Dropped - c.Dead - c.Returned
	if r := s.run.Load(); r != nil {
		ahead, _ := r.intake.state()
		c.Ahead = int64(ahead)
		if r.limit != nil {
			c.Limit = r.limit.limit.Load()
		}
	}
	return c
}
