package bridge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// KeyedWork says how the items of a consumer with an affinity are worked on.
type KeyedWork struct {
	Work
	// Leases are this node's.
	Leases *Leases
	// Key is an item's key. It is called by many goroutines at once.
	Key func(Item) string
	// Keyed is counted in; nil for none.
	Keyed *KeyedStats
}

// KeyedStats count what a node does for a consumer with an affinity. The zero
// value is ready.
type KeyedStats struct {
	held, taken, routed, parts atomic.Int64
	routing                    atomic.Bool
}

// KeyedCounts are KeyedStats at one moment.
type KeyedCounts struct {
	Held    int64 // parts that this node serves
	Parts   int64 // that there are; 0 until it has served
	Taken   int64 // times that it took one
	Routed  int64 // items that it routed
	Routing bool  // it is the node that routes
}

// Snapshot gives the counts.
func (s *KeyedStats) Snapshot() KeyedCounts {
	return KeyedCounts{Held: s.held.Load(), Parts: s.parts.Load(), Taken: s.taken.Load(), Routed: s.routed.Load(), Routing: s.routing.Load()}
}

// ServeKeyed has this node take part in the consumer's work until ctx ends: it
// serves the parts that are its share among the nodes that call ServeKeyed, and
// routes where no other does. Then it finishes what it holds, gives up its parts
// and returns nil. An error says that the consumer cannot be served.
func (b *Bridge) ServeKeyed(ctx context.Context, w KeyedWork) error {
	c := w.Consumer
	parts, err := b.Parts(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if w.Keyed == nil {
		w.Keyed = new(KeyedStats)
	}
	w.Keyed.parts.Store(int64(parts))
	if w.Stats == nil {
		w.Stats = new(Stats)
	}
	if w.Drain <= 0 {
		w.Drain = 3 * time.Second
	}
	var all sync.WaitGroup
	defer all.Wait()
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer w.Leases.Offer(c.Name())()
	all.Go(func() { stop(b.keepRouting(work, w)) })

	serving := map[int]context.CancelFunc{}
	ended := make(chan int, parts)
	going := map[int]bool{} // told to stop
	for work.Err() == nil {
		changed := w.Leases.Changes()
		if peers, ok := w.Leases.Peers(); ok {
			for part, owner := range c.Assign(offering(peers, c.Name()), parts) {
				mine, end := owner == w.Leases.node, serving[part]
				switch {
				case mine && end == nil:
					life, cancel := context.WithCancel(work)
					serving[part] = cancel
					all.Go(func() {
						defer func() { ended <- part }()
						if err := b.keepPart(life, w, part); err != nil {
							stop(err)
						}
					})
				case !mine && end != nil && !going[part]:
					going[part] = true
					end()
				}
			}
		}
		select {
		case <-work.Done():
		case <-changed:
		case part := <-ended:
			serving[part]()
			delete(serving, part)
			delete(going, part)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(work)
}

// offering are the names of the nodes that offer something.
func offering(peers []Peer, what string) []string {
	var nodes []string
	for _, p := range peers {
		if slices.Contains(p.Offers, what) && !slices.Contains(nodes, p.Node) {
			nodes = append(nodes, p.Node)
		}
	}
	return nodes
}

// keepRouting routes whenever no other node does.
func (b *Bridge) keepRouting(ctx context.Context, w KeyedWork) error {
	for {
		lease, err := w.Leases.Acquire(ctx, w.Consumer.RouteLease())
		if err != nil {
			return nil
		}
		w.Keyed.routing.Store(true)
		err = b.Route(ctx, Routing{
			Consumer: w.Consumer, Lease: lease, Key: w.Key, Routed: func(items int) { w.Keyed.routed.Add(int64(items)) },
		})
		w.Keyed.routing.Store(false)
		lease.Release(ctx)
		if err != nil {
			return err
		}
	}
}

// keepPart serves a part whenever no other node does.
func (b *Bridge) keepPart(ctx context.Context, w KeyedWork, part int) error {
	for {
		lease, err := w.Leases.Acquire(ctx, w.Consumer.PartLease(part))
		if err != nil {
			return nil
		}
		w.Keyed.held.Add(1)
		w.Keyed.taken.Add(1)
		err = b.ConsumePart(ctx, w.Work, Part{Number: part, Lease: lease, Key: w.Key})
		w.Keyed.held.Add(-1)
		lease.Release(ctx)
		if err != nil {
			return err
		}
	}
}
