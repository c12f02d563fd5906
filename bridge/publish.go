package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// publisher gathers what many goroutines publish at once into one message a
// subject. Nothing lingers: an item that finds its subject idle goes out alone
// and at once; what arrives while laneFlight messages are on their way goes out
// together as soon as one is stored.
type publisher struct {
	b *Bridge

	mu    sync.Mutex
	lanes map[string]*lane
}

// laneFlight is how many messages of one subject may be under way. Two keep the
// server busy; more would only make the batches smaller.
const laneFlight = 2

// singleFlight is the same for subjects whose items go one in a message.
const singleFlight = 64

type lane struct {
	subject string
	single  bool // each item is a message
	most    int  // messages under way
	queue   []queued
	flight  int
}

func newLane(subject string) *lane {
	l := &lane{subject: subject, single: single(subject), most: laneFlight}
	if l.single {
		l.most = singleFlight
	}
	return l
}

type queued struct {
	item Item
	call *publishCall
}

// publishCall is one call of Publish that waits for its items.
type publishCall struct {
	left int // guarded by publisher.mu
	err  error
	done chan struct{}
}

func newPublisher(b *Bridge) *publisher {
	return &publisher{b: b, lanes: map[string]*lane{}}
}

// Publish implements Publisher. An error that IsPermanent is an *ItemError and
// names the first item that can never be stored; all others are stored.
func (b *Bridge) Publish(ctx context.Context, items ...Item) error {
	return b.pub.publish(ctx, items)
}

// ItemError says why one item cannot be stored, ever.
type ItemError struct {
	Item Item
	Err  error
}

func (e *ItemError) Error() string { return e.Err.Error() }
func (e *ItemError) Unwrap() error { return e.Err }

// tooLarge is the error of an item that no message can hold, or nil.
func (b *Bridge) tooLarge(it *Item) error {
	if limit := b.MaxItem(); len(it.Body) > limit {
		return &ItemError{*it, Permanent(fmt.Errorf("%d bytes are more than the %d that a stored message holds (the server's max_payload)", len(it.Body), limit))}
	}
	return nil
}

func (p *publisher) publish(ctx context.Context, items []Item) error {
	var refused error
	call := &publishCall{done: make(chan struct{})}
	p.mu.Lock()
	var first *lane
	for i := range items {
		if err := p.b.tooLarge(&items[i]); err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		l := p.lanes[items[i].Subject]
		if l == nil {
			l = newLane(items[i].Subject)
			p.lanes[l.subject] = l
		}
		l.queue = append(l.queue, queued{items[i], call})
		call.left++
		// Items of one call mostly share a subject: a lane is flushed when the
		// next item belongs to another, so that they go out as one message.
		if first != nil && first != l {
			p.flush(first)
		}
		first = l
	}
	if first != nil {
		p.flush(first)
	}
	waiting := call.left > 0
	p.mu.Unlock()
	if !waiting {
		return refused
	}
	select {
	case <-call.done:
		return errors.Join(refused, call.err)
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", ctx.Err())
	}
}

// flush sends what the lane may send now. The lock is held.
func (p *publisher) flush(l *lane) {
	for len(l.queue) > 0 && (l.flight == 0 || l.flight < l.most && (l.single || len(l.queue) >= p.b.opts.BatchItems)) {
		batch := p.cut(l)
		l.flight++
		p.b.work.Add(1)
		go p.send(l, batch)
	}
	if l.flight == 0 {
		delete(p.lanes, l.subject)
	}
}

// cut takes the items of one message from the front of the queue.
func (p *publisher) cut(l *lane) []queued {
	n := 1
	if !l.single {
		n = p.b.fit(len(l.queue), func(i int) int { return len(l.queue[i].item.Body) })
	}
	batch := l.queue[:n:n]
	l.queue = l.queue[n:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return batch
}

func (p *publisher) send(l *lane, batch []queued) {
	defer p.b.work.Done()
	items := make([]Item, len(batch))
	for i := range batch {
		items[i] = batch[i].item
	}
	err := p.b.store(p.b.ctx, message(items))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range batch {
		q.call.left--
		if err != nil {
			q.call.err = err
		}
		if q.call.left == 0 {
			close(q.call.done)
		}
	}
	l.flight--
	p.flush(l)
}

// fit is how many of n bodies, from the first on, one message holds: at least
// one.
func (b *Bridge) fit(n int, size func(i int) int) int {
	bytes := 0
	for i := range min(n, b.opts.BatchItems) {
		bytes += size(i)
		if i > 0 && (bytes > b.opts.BatchBytes || batchSize(i+1, bytes) > b.maxPayload-headerRoom) {
			return i
		}
	}
	return min(n, b.opts.BatchItems)
}

// message makes one stored message of items that share a subject. Its id is
// made of theirs.
func message(items []Item) *nats.Msg {
	id := items[0].ID
	if len(items) > 1 {
		id = NewID(idsOf(items))
	}
	return rawMessage(items[0].Subject, id, encodeBatch(items))
}

// idsOf are the ids of items, one after the other: what a message's id is made of.
func idsOf(items []Item) []byte {
	all := make([]byte, 0, len(items)*len(items[0].ID))
	for i := range items {
		all = append(all, items[i].ID[:]...)
	}
	return all
}

func rawMessage(subject string, id ID, data []byte) *nats.Msg {
	return &nats.Msg{
		Subject: subject,
		Header:  nats.Header{jetstream.MsgIDHeader: {base64.RawURLEncoding.EncodeToString(id[:])}},
		Data:    data,
	}
}

const (
	storeTimeout  = 5 * time.Second
	storeRetryMin = 20 * time.Millisecond
	storeRetryMax = 500 * time.Millisecond
)

// store publishes until the message is stored or ctx ends: an unreachable
// server and a full stream are waited for. The message's id makes a repetition
// harmless.
func (b *Bridge) store(ctx context.Context, m *nats.Msg) error {
	told := false
	for wait := storeRetryMin; ; wait = min(2*wait, storeRetryMax) {
		link := b.link.Load()
		try, cancel := context.WithTimeout(ctx, storeTimeout)
		stop := context.AfterFunc(link.ctx, cancel)
		_, err := b.js.PublishMsg(try, m, jetstream.WithRetryAttempts(0))
		stop()
		cancel()
		if err == nil {
			if told {
				b.log.Info("stored again", "subject", m.Subject)
			}
			return nil
		}
		if errors.Is(err, nats.ErrMaxPayload) {
			return Permanent(fmt.Errorf("store on %s: %w", m.Subject, err))
		}
		if link.ctx.Err() != nil {
			err = errors.New("the connection to nats is lost")
		}
		if !told && wait > 4*storeRetryMin {
			told = true
			b.log.Warn("cannot store, trying again until it can be", "subject", m.Subject, "error", err)
		}
		select {
		case <-link.again:
			wait = storeRetryMin
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("store on %s: %w", m.Subject, err)
		}
	}
}

// storeAgain is how many messages of one call are tried again side by side.
const storeAgain = 64

// storeAll stores messages side by side and returns the first error. Those that
// fail go the slow way, which knows what to wait for.
func (b *Bridge) storeAll(ctx context.Context, msgs []*nats.Msg) error {
	if len(msgs) == 1 {
		return b.store(ctx, msgs[0])
	}
	link := b.link.Load()
	acks := make([]jetstream.PubAckFuture, len(msgs))
	for i, m := range msgs {
		f, err := b.js.PublishMsgAsync(m, jetstream.WithStallWait(storeTimeout))
		if err == nil {
			acks[i] = f
		}
	}
	again, againCtx := errgroup.WithContext(ctx)
	again.SetLimit(storeAgain)
	for i, f := range acks {
		if f != nil {
			select {
			case <-f.Ok():
				continue
			case <-f.Err():
			case <-link.ctx.Done():
			case <-ctx.Done():
			}
		}
		again.Go(func() error { return b.store(againCtx, msgs[i]) })
	}
	return again.Wait()
}

// pack makes messages of the outputs of one stored message, in order and the
// same each time: the ids of repeated messages must be equal. Alerts and the
// messages of plugins go one in a message, so that the stream knows each by its
// id, whatever batch it came in.
func (b *Bridge) pack(items []Item) []*nats.Msg {
	var msgs []*nats.Msg
	groups := map[string][]Item{}
	var order []string
	for _, it := range items {
		if single(it.Subject) {
			msgs = append(msgs, message([]Item{it}))
			continue
		}
		if _, ok := groups[it.Subject]; !ok {
			order = append(order, it.Subject)
		}
		groups[it.Subject] = append(groups[it.Subject], it)
	}
	for _, subject := range order {
		group := groups[subject]
		for len(group) > 0 {
			n := b.fit(len(group), func(i int) int { return len(group[i].Body) })
			msgs = append(msgs, message(group[:n]))
			group = group[n:]
		}
	}
	return msgs
}
