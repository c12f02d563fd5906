package bridge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
	waitMin  = time.Second
	waitMax  = time.Minute
)

// result is what came of one item.
type result struct {
	out  []Item
	err  error
	took time.Duration
}

// settle works on the items of one message to the end.
func (r *run) settle(t taken) {
	msg, items := t.msg, t.items
	tried := sync.OnceFunc(func() {
		if r.intake == nil {
			return // a part takes one message after the other
		}
		r.intake.tried(t)
		r.dispatch()
	})
	defer tried()
	if demand := r.elsewhere(items); demand != "" {
		r.handOn(msg, items, demand)
		return
	}
	deliveries := deliveries(msg)
	results := make([]result, len(items))
	begun := 0
	if deliveries >= begunFrom {
		var err error
		if begun, err = r.begin(msg); err != nil {
			r.b.log.Debug("giving back what cannot be begun", "consumer", r.name, "error", err)
			r.giveBack(msg, len(items), r.delay(deliveries))
			return
		}
		defer r.end(msg)
	}
	switch {
	case begun >= maxBegun:
		// Looked at before the work: nobody who tried came to an end with it.
		err := Permanent(fmt.Errorf("begun %d times and never finished: the work on it seems to end its node", begun))
		for i := range results {
			results[i].err = err
		}
	case r.key != nil:
		r.eachKey(items, results)
	case deliveries > 1:
		// It failed as a whole once; one by one, an item that is to blame is
		// found.
		for i := range items {
			if results[i].err = context.Canceled; r.work.Err() == nil {
				results[i] = r.try(items[i])
			}
		}
	default:
		r.each(items, results)
	}
	tried()
	if !r.retry(items, results) {
		r.giveBack(msg, len(items), r.delay(deliveries))
		return
	}
	var out []Item
	var dead []DeadLetter
	for i := range results {
		switch res := &results[i]; {
		case res.err == nil:
			for _, o := range res.out {
				if err := r.b.tooLarge(&o); err != nil {
					// On replay it goes to all who wait for it, not to who made it.
					l := r.letter(o, err, msg)
					l.Consumer = ""
					dead = append(dead, l)
					continue
				}
				out = append(out, o)
			}
		case errors.Is(res.err, ErrDropped):
			out = append(out, res.out...)
		default:
			dead = append(dead, r.letter(items[i], res.err, msg))
			if r.w.GivenUp != nil {
				out = append(out, r.w.GivenUp(items[i])...)
			}
		}
	}
	if r.w.Merge != nil {
		out = r.w.Merge(out)
	}
	if !r.finish(msg, r.b.pack(out), dead, len(items)) {
		return
	}
	r.count(items, results)
}

// each tries the items of a message that came for the first time.
func (r *run) each(items []Item, results []result) {
	n := min(r.w.Within, len(items))
	if n == 1 {
		for i := range items {
			results[i] = r.try(items[i])
		}
		return
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	workers.Add(n)
	work := func() {
		defer workers.Done()
		for i := int(next.Add(1)) - 1; i < len(items); i = int(next.Add(1)) - 1 {
			results[i] = r.try(items[i])
		}
	}
	for range n {
		r.hands.do(work)
	}
	workers.Wait()
}

// try is one attempt at one item. A panic is the item's end, not the node's.
func (r *run) try(item Item) (res result) {
	if r.limit != nil {
		if res.err = r.limit.acquire(r.work); res.err != nil {
			return res
		}
		defer func() {
			if IsWait(res.err) {
				r.limit.release(0) // the time went into waiting for the plugin
			} else {
				r.limit.release(res.took)
			}
		}()
	}
	began := time.Now()
	defer func() {
		res.took = time.Since(began)
		if p := recover(); p != nil {
			r.b.log.Error("handler panicked", "consumer", r.name, "item", item.ID, "panic", p, "stack", string(debug.Stack()))
			res.out, res.err = nil, Permanent(fmt.Errorf("panic: %v", p))
		}
	}()
	res.out, res.err = r.w.Handler(r.work, item)
	return res
}

// retry tries what failed again, one item at a time, until each is done or
// given up. The pause before each round is one for all: most of what fails
// together fails for one item's sake. It reports false where the message has to
// go back.
func (r *run) retry(items []Item, results []result) bool {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		var failed []int
		for i := range results {
			if IsWait(results[i].err) {
				return false
			}
			if again(results[i].err) && items[i].Attempt < r.b.opts.Attempts {
				failed = append(failed, i)
			}
		}
		if len(failed) == 0 {
			// What failed because the work was ended is no failure of the item.
			return r.work.Err() == nil || !slices.ContainsFunc(results, func(res result) bool { return again(res.err) })
		}
		if sleep(r.stopping, wait) != nil {
			return false
		}
		for _, i := range failed {
			items[i].Attempt++
			items[i].LastErr = results[i].err
			r.w.Stats.retried.Add(1)
			if results[i] = r.try(items[i]); IsWait(results[i].err) {
				return false
			}
		}
	}
}

// again reports whether another attempt may mend err.
func again(err error) bool {
	return err != nil && !errors.Is(err, ErrDropped) && !IsPermanent(err)
}

// delay is how long a message that goes back stays away: not at all where this
// node stops, longer each time where what it needs is not there.
func (r *run) delay(deliveries int) time.Duration {
	if r.stopping.Err() != nil {
		return 0
	}
	return min(waitMin<<min(deliveries, 10), waitMax)
}

// finish stores what came of a message, then lets the message go. It reports
// false where that could not be done before the work was ended; the message
// comes again.
func (r *run) finish(msg jetstream.Msg, out []*nats.Msg, dead []DeadLetter, items int) bool {
	if r.lease != nil && !r.lease.Valid() {
		r.giveBack(msg, items, 0)
		return false
	}
	err := error(nil)
	if len(out) > 0 {
		err = r.b.storeAll(r.work, out)
	}
	if err == nil && len(dead) > 0 {
		err = r.b.Dead(r.work, dead...)
	}
	if err != nil {
		r.b.log.Debug("giving back what could not be stored", "consumer", r.name, "error", err)
		r.giveBack(msg, items, 0)
		return false
	}
	r.release(msg)
	if err := msg.Ack(); err != nil {
		r.b.log.Warn("cannot acknowledge; it will come again", "consumer", r.name, "error", err)
	}
	return true
}

func (r *run) count(items []Item, results []result) {
	var out, dropped, dead, produced int64
	for i := range results {
		switch res := &results[i]; {
		case res.err == nil:
			out++
			produced += int64(len(res.out))
			if r.w.Done != nil {
				r.w.Done(items[i], res.out, res.took)
			}
		case errors.Is(res.err, ErrDropped):
			dropped++
			if r.w.Done != nil {
				r.w.Done(items[i], nil, res.took)
			}
		default:
			dead++
		}
	}
	s := r.w.Stats
	s.produced.Add(produced)
	s.dropped.Add(dropped)
	s.dead.Add(dead)
	s.out.Add(out)
}

func deliveries(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return int(meta.NumDelivered)
}
