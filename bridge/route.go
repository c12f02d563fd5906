package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Routing says how a consumer's items come to the part of their key.
type Routing struct {
	Consumer Consumer
	// Lease is RouteLease's: one node at a time routes.
	Lease *Lease
	// Key is an item's key. It is called by many goroutines at once.
	Key func(Item) string
	// Routed is called with the number of items that were stored in their parts;
	// nil for none.
	Routed func(items int)
}

const (
	// routeFetch are asked for at once; what comes of them together, up to
	// routeItems, is stored together.
	routeFetch = 256
	routeItems = 8192
	routeBytes = 16 << 20
	// routeWait is how long the server keeps a request that it cannot fill.
	routeWait = 2 * time.Second
	// gatherWait is the same while what others have is waited for.
	gatherWait = 250 * time.Millisecond
	// routeDrain is how long storing may go on after the routing was ended.
	routeDrain = time.Second
)

// Route stores the consumer's items in the parts of their keys, in the order in
// which their stage's stream has them, until ctx or the lease ends. It returns
// nil then; an error says that the consumer cannot be served.
//
// A message is acknowledged once all its items are stored in their parts. What
// a node that ended had stored and not acknowledged is stored again by the next:
// then a part repeats a stretch of itself, in the same order.
func (b *Bridge) Route(ctx context.Context, w Routing) error {
	name := w.Consumer.Name()
	parts, err := b.Parts(undated{ctx}, w.Consumer)
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("consumer %s: %w", name, err)
	}
	consumer, err := b.consumer(ctx, w.Consumer.Stream, name)
	if consumer == nil {
		return err
	}
	stopping, work, end := b.underLease(ctx, w.Lease, routeDrain)
	defer end()
	r := &router{
		run: run{
			b: b, w: Work{Consumer: w.Consumer, Stats: new(Stats)}, name: name, ackWait: b.partAckWait(),
			stopping: stopping, work: work, lease: w.Lease, held: map[jetstream.Msg]struct{}{},
		},
		routing: w, parts: parts, consumer: consumer,
	}
	var beats sync.WaitGroup
	beats.Go(func() { r.heartbeat(work) })
	defer beats.Wait()
	defer end()
	// What the node before had fetched comes again; nothing passes it.
	gathered := false
	var left []jetstream.Msg
	pause := retryMin
	for stopping.Err() == nil {
		if !gathered {
			left, err = r.gather(left)
			gathered = err == nil
		} else if left, err = r.follow(); len(left) > 0 {
			gathered = false
		}
		if pause, err = r.rest(consumer, pause, "route", err); err != nil {
			return err
		}
	}
	for _, msg := range left {
		r.giveBack(msg, 0, 0)
	}
	return nil
}

// router is one Route.
type router struct {
	run
	routing  Routing
	parts    int
	consumer jetstream.Consumer
	last     uint64 // delivery of the consumer that came last
}

// follow routes what comes, as long as nothing else of the consumer goes to
// anybody else. What is left then was not routed.
func (r *router) follow() (left []jetstream.Msg, err error) {
	q, err := r.request(r.consumer, routeFetch, routeWait)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r.stopping.Err() != nil {
			r.refuse(q)
			return
		}
		if len(left) > 0 {
			// The rest of the request is gathered with what is left.
			for msg := range q.msgs {
				left = append(left, msg)
			}
		}
		q.end()
	}()
	for {
		var msg jetstream.Msg
		select {
		case msg = <-q.msgs:
		case <-r.stopping.Done():
			return nil, nil
		}
		if msg == nil {
			return nil, q.err()
		}
		window := []jetstream.Msg{msg}
		for bytes := len(msg.Data()); len(window) < routeFetch && bytes < routeBytes; bytes += len(msg.Data()) {
			select {
			case msg = <-q.msgs:
			default:
				msg = nil
			}
			if msg == nil {
				break
			}
			window = append(window, msg)
		}
		for _, msg := range window {
			r.hold(msg)
		}
		for _, msg := range window {
			meta, err := msg.Metadata()
			if err != nil || meta.Sequence.Consumer != r.last+1 {
				return window, nil
			}
			r.last = meta.Sequence.Consumer
		}
		if !r.route(window) {
			return window, nil
		}
	}
}

// routed is an item on its way to its part.
type routed struct {
	part int
	item Item
}

// route stores the items of messages in their parts, then lets the messages go.
// It reports false where that was not possible before the lease ended.
func (r *router) route(msgs []jetstream.Msg) bool {
	opened := make([][]routed, len(msgs))
	var next atomic.Int64
	var openers sync.WaitGroup
	for range min(len(msgs), 4) {
		openers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(msgs); i = int(next.Add(1)) - 1 {
				opened[i] = r.openKeyed(msgs[i])
			}
		})
	}
	openers.Wait()
	parts := map[int][]Item{}
	items := 0
	for _, list := range opened {
		for _, it := range list {
			parts[it.part] = append(parts[it.part], it.item)
		}
		items += len(list)
	}
	if !r.lease.Valid() {
		return false
	}
	store, ctx := errgroup.WithContext(r.work)
	for part, list := range parts {
		store.Go(func() error { return r.storePart(ctx, part, list) })
	}
	if err := store.Wait(); err != nil {
		return false
	}
	if !r.lease.Valid() {
		return false
	}
	for i, msg := range msgs {
		r.release(msg)
		if opened[i] == nil {
			_ = msg.NakWithDelay(waitMax) // a newer node's
			continue
		}
		if err := msg.Ack(); err != nil {
			r.b.log.Warn("cannot acknowledge; it will come again", "consumer", r.name, "error", err)
		}
	}
	if r.routing.Routed != nil {
		r.routing.Routed(items)
	}
	return true
}

// storePart stores items in one part, one message after the other.
func (r *router) storePart(ctx context.Context, part int, items []Item) error {
	subject := r.routing.Consumer.partSubject(part)
	return r.storeUnder(ctx, items, func(items []Item) *nats.Msg { return keyedMessage(subject, items) })
}

// openKeyed reads a message and the keys of its items: nil where a newer node
// stored it. What cannot be read goes to the part of the empty key as it is, and
// is a dead letter there.
func (r *router) openKeyed(msg jetstream.Msg) []routed {
	if only := msg.Headers().Get(onlyHeader); only != "" && only != r.name {
		return []routed{}
	}
	items, err := decodeBatch(msg.Data(), msg.Subject())
	if errors.Is(err, ErrNewer) {
		r.tellNewer(msg, err)
		return nil
	}
	if err != nil {
		items = []Item{{ID: NewID(msg.Data()), Subject: msg.Subject(), Body: msg.Data()}}
	}
	list := make([]routed, len(items))
	for i, it := range items {
		list[i] = routed{PartOf(r.routing.Key(it), r.parts), it}
	}
	return list
}
