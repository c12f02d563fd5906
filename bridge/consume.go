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
	"golang.org/x/sync/semaphore"
)

// Work says how a consumer's items are worked on.
type Work struct {
	Consumer Consumer
	Handler  Handler
	// Parallel is how many items are worked on at once, and Within how many of
	// one stored message. Within 1 suits work that only computes; calls to a
	// plugin want both alike.
	Parallel, Within int
	// Drain is how long what has been taken may go on after ctx has ended.
	Drain time.Duration
	// Merge may join outputs of one stored message before they are stored; nil
	// for none. It gives the same for the same outputs.
	Merge func(out []Item) []Item
	// GivenUp makes outputs that tell of an item that goes to the dead letters;
	// nil for none.
	GivenUp func(Item) []Item
	// Stats are counted in; nil for none.
	Stats *Stats
	// Done is called for every item that is done, with its outputs, once these
	// are stored; nil for none. took is the handler's time. It is called by many
	// goroutines at once.
	Done func(in Item, out []Item, took time.Duration)
}

const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
	waitMin  = time.Second
	waitMax  = time.Minute
	// fetchMessages are asked for at once, and up to twice as many wait for the
	// work before them.
	fetchMessages = 16
	// fetchWait is how long the server keeps a request that it cannot fill.
	fetchWait = 10 * time.Second
)

// Consume takes items until ctx ends, then finishes what it holds and returns
// nil. An error says that the consumer cannot be served; it was made by Ensure
// before.
//
// The unit that is settled is the stored message: once all its items are done,
// dropped or given up, their outputs are stored, then the dead letters, then
// the message is acknowledged. So a message that comes again after a crash
// gives the same outputs under the same ids, and the streams keep one of each.
func (b *Bridge) Consume(ctx context.Context, w Work) error {
	name := w.Consumer.Name()
	consumer, err := b.js.Consumer(ctx, w.Consumer.Stream, name)
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("consumer %s: %w", name, err)
	}
	if w.Stats == nil {
		w.Stats = new(Stats)
	}
	w.Parallel, w.Within = max(w.Parallel, 1), max(w.Within, 1)
	if w.Drain <= 0 {
		w.Drain = 3 * time.Second
	}
	work, end := context.WithCancel(b.ctx)
	defer end()
	run := &run{b: b, w: w, name: name, stopping: ctx, work: work, held: map[jetstream.Msg]struct{}{}}
	run.hands.most = w.Parallel
	defer run.hands.dismiss()
	var workers sync.WaitGroup
	workers.Go(func() { run.heartbeat(work) })
	// A message is let in by its number of items, so that many small ones and a
	// few large ones give the plugin the same number of calls.
	admission := int64(4 * w.Parallel)
	admit := semaphore.NewWeighted(admission)
	ahead := semaphore.NewWeighted(2 * fetchMessages)
	var busy sync.WaitGroup
	pause := retryMin
	for ahead.Acquire(ctx, fetchMessages) == nil {
		n, err := run.fetch(ctx, consumer, func(msg jetstream.Msg) {
			items, ok := run.open(msg)
			if !ok {
				ahead.Release(1)
				return
			}
			busy.Add(1)
			run.hands.do(func() {
				defer busy.Done()
				weight := min(int64(len(items)), admission)
				err := admit.Acquire(ctx, weight)
				ahead.Release(1)
				if err != nil {
					run.giveBack(msg, len(items), 0)
					return
				}
				defer admit.Release(weight)
				run.settle(msg, items)
			})
		})
		ahead.Release(fetchMessages - n)
		if err == nil || ctx.Err() != nil {
			pause = retryMin
			continue
		}
		if deleted(ctx, consumer, err) {
			run.err = fmt.Errorf("consumer %s: it was deleted", name)
			break
		}
		if pause == retryMin && b.nc.IsConnected() { // else it has been said
			b.log.Warn("cannot fetch, trying again", "consumer", name, "error", err)
		}
		_ = sleep(ctx, pause)
		pause = min(2*pause, waitMin)
	}
	timer := time.AfterFunc(w.Drain, end)
	busy.Wait()
	timer.Stop()
	end()
	workers.Wait()
	return run.err
}

// deleted reports whether fetching failed because the consumer is gone. A server
// that has none of that name does not answer.
func deleted(ctx context.Context, consumer jetstream.Consumer, err error) bool {
	if errors.Is(err, nats.ErrNoResponders) {
		_, err = consumer.Info(ctx)
	}
	return errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound)
}

// run is one Consume.
type run struct {
	b    *Bridge
	w    Work
	name string
	// stopping ends when no new work is begun; work when what is held is let go.
	stopping, work context.Context

	hands hands
	err   error // why it ended before ctx did

	mu   sync.Mutex
	held map[jetstream.Msg]struct{}

	newer atomic.Bool
}

// fetch takes the messages of one request, as they come, and returns how many
// came. What is fetched is held at once, and so kept alive while it waits: the
// client's own reading ahead would let it come again, to be done twice, where
// the work is slow.
func (r *run) fetch(ctx context.Context, consumer jetstream.Consumer, take func(jetstream.Msg)) (n int64, err error) {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := consumer.Fetch(fetchMessages, jetstream.FetchContext(wait), jetstream.FetchHeartbeat(fetchWait/4))
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		n++
		take(msg)
	}
	err = batch.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		err = nil
	}
	return n, err
}

// open reads a message. What cannot be read is settled here.
func (r *run) open(msg jetstream.Msg) ([]Item, bool) {
	if only := msg.Headers().Get(onlyHeader); only != "" && only != r.name {
		_ = msg.Ack()
		return nil, false
	}
	items, err := decodeBatch(msg.Data(), msg.Subject())
	switch {
	case errors.Is(err, ErrNewer):
		r.w.Stats.newer.Add(1)
		if !r.newer.Swap(true) {
			r.b.log.Error("leaving what a newer node stored", "consumer", r.name, "subject", msg.Subject(), "error", err)
		}
		_ = msg.NakWithDelay(waitMax)
		return nil, false
	case err != nil:
		r.w.Stats.in.Add(1)
		r.hold(msg)
		dead := r.letter(Item{ID: NewID(msg.Data()), Subject: msg.Subject(), Body: msg.Data()}, err, msg)
		if r.finish(msg, nil, []DeadLetter{dead}, 1) {
			r.w.Stats.dead.Add(1)
		}
		return nil, false
	}
	r.w.Stats.in.Add(int64(len(items)))
	r.hold(msg)
	return items, true
}

// result is what came of one item.
type result struct {
	out  []Item
	err  error
	took time.Duration
}

// settle works on the items of one message to the end.
func (r *run) settle(msg jetstream.Msg, items []Item) {
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
