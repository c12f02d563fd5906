package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Part says which part of a consumer's keys is served, and under what lease.
type Part struct {
	Number int
	// Lease is PartLease's. What is done under it ends before it does.
	Lease *Lease
	// Key is an item's key. Items of one message with the same are worked on one
	// after the other, in order, others side by side.
	Key func(Item) string
}

// ConsumePart takes the items of one part until ctx or the lease ends, one
// stored message after the other, then finishes what it holds and returns nil.
// The context of Work's handler ends with the lease.
func (b *Bridge) ConsumePart(ctx context.Context, w Work, p Part) error {
	name := w.Consumer.partName(p.Number)
	consumer, err := b.consumer(ctx, StreamKeyed, name)
	if consumer == nil {
		return err
	}
	if w.Stats == nil {
		w.Stats = new(Stats)
	}
	w.Parallel, w.Within = max(w.Parallel, 1), max(w.Within, 1)
	stopping, work, end := b.underLease(ctx, p.Lease, w.Drain)
	defer end()
	r := &run{
		b: b, w: w, name: name, ackWait: b.partAckWait(), stopping: stopping, work: work,
		lease: p.Lease, key: p.Key, held: map[jetstream.Msg]struct{}{},
	}
	r.hands.most = w.Within
	defer r.hands.dismiss()
	var beats sync.WaitGroup
	beats.Go(func() { r.heartbeat(work) })
	defer beats.Wait()
	defer end()
	pause := retryMin
	for stopping.Err() == nil {
		msg, err := r.next(stopping, consumer)
		switch {
		case err == nil && msg != nil && !p.Lease.Valid():
			// Of a request that was made before the lease was lost.
			return nil
		case err == nil && msg != nil:
			pause = retryMin
			if items, ok := r.open(msg); ok {
				r.settle(taken{msg: msg, items: items})
			}
		default:
			if pause, err = r.rest(consumer, pause, "fetch", err); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest waits after an attempt that failed with err, longer each time, and returns
// the pause after the next. An error says that the consumer is gone.
func (r *run) rest(consumer jetstream.Consumer, pause time.Duration, what string, err error) (time.Duration, error) {
	switch {
	case err == nil || r.stopping.Err() != nil:
		return retryMin, nil
	case deleted(r.stopping, consumer, err):
		return 0, fmt.Errorf("consumer %s: it was deleted", r.name)
	}
	if pause == retryMax && r.b.nc.IsConnected() {
		r.b.log.Warn("cannot "+what+", trying again", "consumer", r.name, "error", err)
	}
	_ = sleep(r.stopping, pause)
	return min(2*pause, retryMax), nil
}

// underLease makes the contexts of a run that a lease allows: stopping ends with
// ctx or the lease, work with the lease, the bridge, or once the drain after ctx is
// over. end ends both; it may be called more than once.
func (b *Bridge) underLease(ctx context.Context, lease *Lease, drain time.Duration) (stopping, work context.Context, end func()) {
	work, endWork := context.WithCancel(lease.Context())
	stopping, stop := context.WithCancel(ctx)
	unlease := context.AfterFunc(lease.Context(), stop)
	unclose := context.AfterFunc(b.ctx, endWork)
	undrain := context.AfterFunc(ctx, func() {
		if sleep(work, drain) == nil {
			endWork()
		}
	})
	return stopping, work, func() {
		unlease()
		unclose()
		undrain()
		stop()
		endWork()
	}
}

// partFetchWait is how long the server keeps a request for a part. It is short:
// what is handed to a node that has been stopped since comes back only then.
const partFetchWait = 2 * time.Second

// next fetches one message, or none.
func (r *run) next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Msg, error) {
	q, err := r.request(consumer, 1, partFetchWait)
	if err != nil {
		return nil, err
	}
	select {
	case msg := <-q.msgs:
		q.end()
		if msg == nil {
			return nil, q.err()
		}
		return msg, nil
	case <-ctx.Done():
		r.refuse(q)
		return nil, nil
	}
}

// request is one fetch. Unlike that of Consume it does not end with the work: what
// still comes for it is given back, see refuse, and not left to its ack wait.
type request struct {
	batch jetstream.MessageBatch
	msgs  <-chan jetstream.Msg
	end   context.CancelFunc // once its messages have ended, or are not wanted
}

func (r *run) request(consumer jetstream.Consumer, most int, wait time.Duration) (request, error) {
	ctx, cancel := context.WithTimeout(r.b.ctx, wait)
	batch, err := consumer.Fetch(most, jetstream.FetchContext(ctx))
	if err != nil {
		cancel()
		return request{}, err
	}
	return request{batch, batch.Messages(), cancel}, nil
}

// err is why there are no more messages, where that is not their time.
func (q request) err() error {
	return unlessOver(q.batch.Error())
}

// refuse gives back what still comes of a request.
func (r *run) refuse(q request) {
	r.b.work.Add(1)
	go func() {
		defer r.b.work.Done()
		defer q.end()
		for msg := range q.msgs {
			_ = msg.Nak()
		}
	}()
}

// eachKey tries the items of a message: those of one key in order, each to its
// end before the next. A key whose item has to wait stops there.
func (r *run) eachKey(items []Item, results []result) {
	groups := map[string][]int{}
	var order []string
	for i := range items {
		key := r.key(items[i])
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], i)
	}
	slots := make(chan struct{}, min(r.w.Within, len(order)))
	var workers sync.WaitGroup
	for _, key := range order {
		slots <- struct{}{}
		workers.Add(1)
		r.hands.do(func() {
			defer workers.Done()
			defer func() { <-slots }()
			for n, i := range groups[key] {
				if results[i] = r.tryToEnd(&items[i]); IsWait(results[i].err) {
					for _, later := range groups[key][n:] {
						results[later].err = results[i].err
					}
					return
				}
			}
		})
	}
	workers.Wait()
}

// tryToEnd tries one item until it is done or given up, or has to wait.
func (r *run) tryToEnd(item *Item) result {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		if r.work.Err() != nil || !r.lease.Valid() {
			return result{err: Wait(errors.New("the lease of its part has ended"))}
		}
		res := r.try(*item)
		if !again(res.err) || IsWait(res.err) || item.Attempt >= r.b.opts.Attempts {
			return res
		}
		if r.work.Err() != nil || sleep(r.stopping, wait) != nil {
			return result{err: Wait(res.err)}
		}
		item.Attempt++
		item.LastErr = res.err
		r.w.Stats.retried.Add(1)
	}
}
