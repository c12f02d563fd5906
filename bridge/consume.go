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
