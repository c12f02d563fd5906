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
)

// Work says how a consumer's items are worked on.
type Work struct {
	Consumer Consumer
	Handler  Handler
	// Parallel is how many items are worked on at once, and Within how many of
	// one stored message. Within 1 suits work that only computes; calls to a
	// plugin want both alike.
	Parallel, Within int
	// Adapt lets the number of calls at once follow how long they take, up to
	// Parallel: for work that is done by a plugin. Else it is always Parallel.
	Adapt bool
	// Drain is how long what has been taken may go on after ctx has ended.
	Drain time.Duration
	// Merge may join outputs of one stored message before they are stored; nil
	// for none. It gives the same for the same outputs.
	Merge func(out []Item) []Item
	// GivenUp makes outputs that tell of an item that goes to the dead letters;
	// nil for none.
	GivenUp func(Item) []Item
	// Place says which items this node takes; nil for all. It is not asked where
	// the consumer has an affinity.
	Place *Placing
	// Stats are counted in; nil for none.
	Stats *Stats
	// Done is called for every item that is done, with its outputs, once these
	// are stored; nil for none. took is the handler's time. It is called by many
	// goroutines at once.
	Done func(in Item, out []Item, took time.Duration)
}

const (
	// fetchMessages are asked for at once at most; see intake.
	fetchMessages = 16
	// fetchWait is how long the server keeps a request that it cannot fill.
	fetchWait = 10 * time.Second
	// fetchHeartbeat is how often it says that it still has it: a request that went
	// with a leader of the stream is given up after two that did not come.
	fetchHeartbeat = time.Second
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
	if w.Stats == nil {
		w.Stats = new(Stats)
	}
	if w.Place == nil {
		return b.consume(ctx, w, w.Consumer.Stream, w.Consumer.Name())
	}
	life, end := context.WithCancel(ctx)
	var placed sync.WaitGroup
	placed.Go(func() { b.servePlaced(life, w) })
	defer placed.Wait()
	defer end()
	return b.consume(ctx, w, w.Consumer.Stream, w.Consumer.Name())
}

// consume is Consume for one consumer of a stream.
func (b *Bridge) consume(ctx context.Context, w Work, stream, name string) error {
	consumer, err := b.consumer(ctx, stream, name)
	if consumer == nil {
		return err
	}
	w.Parallel, w.Within = max(w.Parallel, 1), max(w.Within, 1)
	if w.Drain <= 0 {
		w.Drain = 3 * time.Second
	}
	work, end := context.WithCancel(b.ctx)
	defer end()
	run := &run{b: b, w: w, name: name, ackWait: b.opts.AckWait, stopping: ctx, work: work, held: map[jetstream.Msg]struct{}{}}
	run.hands.most = w.Parallel
	defer run.hands.dismiss()
	calls := func() int { return w.Parallel }
	if w.Adapt {
		run.limit = newLimiter(w.Parallel)
		calls = func() int { return int(run.limit.limit.Load()) }
	}
	// A message counts by its number of items, so that many small ones and a few
	// large ones give the plugin the same number of calls.
	run.intake = newIntake(4*w.Parallel, calls)
	if name == w.Consumer.Name() {
		w.Stats.serve(run)
		defer w.Stats.serve(nil)
	}
	var workers sync.WaitGroup
	workers.Go(func() { run.heartbeat(work) })
	gone := run.takeAll(consumer, run.intake.room, run.intake.changed, func(msg jetstream.Msg) {
		if items, ok := run.open(msg); ok {
			run.intake.put(msg, items)
			run.dispatch()
		}
	})
	for _, t := range run.intake.close() {
		run.giveBack(t.msg, len(t.items), 0)
	}
	timer := time.AfterFunc(w.Drain, end)
	run.busy.Wait()
	timer.Stop()
	end()
	workers.Wait()
	return gone
}

// consumer finds a consumer to serve, and waits while nobody can say whether there
// is one. There is none, and no error either, where ctx ended before.
func (b *Bridge) consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	told := false
	for pause := retryMin; ; pause = min(2*pause, waitMin) {
		consumer, err := b.js.Consumer(undated{ctx}, stream, name)
		switch {
		case err == nil:
			return consumer, nil
		case ctx.Err() != nil:
			return nil, nil
		case !passing(err):
			return nil, fmt.Errorf("consumer %s: %w", name, err)
		}
		if !told && b.nc.IsConnected() { // else it has been said
			told = true
			b.log.Warn("cannot ask for the consumer, trying again", "consumer", name, "error", err)
		}
		_ = sleep(ctx, pause) // the next ask tells where ctx has ended
	}
}

// deleted reports whether fetching failed because the consumer is gone. A server
// that has none of that name does not answer.
func deleted(ctx context.Context, consumer jetstream.Consumer, err error) bool {
	if errors.Is(err, nats.ErrNoResponders) {
		_, err = consumer.Info(undated{ctx})
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
	ackWait        time.Duration
	lease          *Lease            // nil where others may do the same work
	key            func(Item) string // nil where the order of items means nothing

	hands  hands
	busy   sync.WaitGroup
	intake *intake  // nil for a part
	limit  *limiter // nil where the work does not adapt

	mu   sync.Mutex
	held map[jetstream.Msg]struct{}

	newer atomic.Bool
}

// dispatch begins what may be begun.
func (r *run) dispatch() {
	for r.stopping.Err() == nil {
		t, ok := r.intake.next()
		if !ok {
			return
		}
		r.busy.Add(1)
		r.hands.do(func() {
			defer r.busy.Done()
			r.settle(t)
			r.intake.end(t)
			r.dispatch()
		})
	}
}

// takeAll fetches messages until it is stopped, as many at once as there is room
// for; changed is told when there may be more room. An error says that the
// consumer is gone.
func (r *run) takeAll(consumer jetstream.Consumer, room func() int, changed <-chan struct{}, take func(jetstream.Msg)) error {
	ctx := r.stopping
	pause := retryMin
	for ctx.Err() == nil {
		n := room()
		if n == 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err := r.fetch(ctx, consumer, n, take)
		if err == nil || ctx.Err() != nil {
			pause = retryMin
			continue
		}
		if deleted(ctx, consumer, err) {
			return fmt.Errorf("consumer %s: it was deleted", r.name)
		}
		if pause == retryMin && r.b.nc.IsConnected() { // else it has been said
			r.b.log.Warn("cannot fetch, trying again", "consumer", r.name, "error", err)
		}
		_ = sleep(ctx, pause)
		pause = min(2*pause, waitMin)
	}
	return nil
}

// fetch takes the messages of one request for n of them, as they come. What is
// fetched is held at once, and so kept alive while it waits: the client's own
// reading ahead would let it come again, to be done twice, where the work is slow.
func (r *run) fetch(ctx context.Context, consumer jetstream.Consumer, n int, take func(jetstream.Msg)) error {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := consumer.Fetch(n, jetstream.FetchContext(wait), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		take(msg)
	}
	return unlessOver(batch.Error())
}

// unlessOver is why a request gave no more messages, where that is not that its
// time was over.
func unlessOver(err error) error {
	for _, over := range []error{context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, jetstream.ErrNoMessages} {
		if errors.Is(err, over) {
			return nil
		}
	}
	return err
}

// tellNewer says, once, that what a newer node stored is left to it.
func (r *run) tellNewer(msg jetstream.Msg, err error) {
	if !r.newer.Swap(true) {
		r.b.log.Error("leaving what a newer node stored", "consumer", r.name, "subject", msg.Subject(), "error", err)
	}
}

// passes lets a dead letter go that was replayed for another consumer.
func (r *run) passes(msg jetstream.Msg) bool {
	only := msg.Headers().Get(onlyHeader)
	if only == "" || only == r.name {
		return false
	}
	_ = msg.Ack() // it comes again where that fails
	return true
}

// open reads a message. What cannot be read is settled here.
func (r *run) open(msg jetstream.Msg) ([]Item, bool) {
	if r.passes(msg) {
		return nil, false
	}
	items, err := decodeBatch(msg.Data(), msg.Subject())
	switch {
	case errors.Is(err, ErrNewer):
		r.w.Stats.newer.Add(1)
		r.tellNewer(msg, err)
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
