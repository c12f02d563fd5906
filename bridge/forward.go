package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ForwardConsumers are those of an edge node, which has no others: what comes in
// on its engine socket goes on to the hub.
func ForwardConsumers() []Consumer {
	return []Consumer{
		{Stage: StageForward, Stream: StreamLog},
		{Stage: StageForwardMessage, Stream: StreamMessage, Subjects: []string{subjectMsg + ">"}},
	}
}

// The stages of an edge node: logs, and messages of plugins.
const (
	StageForward        = "forward"
	StageForwardMessage = "forward-message"
)

const (
	// forwardMessages and forwardBytes bound what is under way to the hub: enough
	// for a link with a long way, and little to come twice when it breaks.
	forwardMessages = 128
	forwardBytes    = 16 << 20
)

// Forward takes stored messages of a consumer of ForwardConsumers and stores each
// at the hub, in the stream of the same subject, until ctx ends; Work's Handler is
// not called. A message is acknowledged here once the hub has stored it. It goes
// as it is, with its id: what the hub has stored within its duplicate window it
// does not store again, and after that the items are still known by their ids,
// which derive from what they are.
func (h *Hub) Forward(ctx context.Context, w Work) error {
	b, name := h.b, w.Consumer.Name()
	consumer, err := b.consumer(ctx, w.Consumer.Stream, name)
	if consumer == nil {
		return err
	}
	if w.Stats == nil {
		w.Stats = new(Stats)
	}
	if w.Drain <= 0 {
		w.Drain = 3 * time.Second
	}
	work, end := context.WithCancel(b.ctx)
	defer end()
	r := &run{b: b, w: w, name: name, ackWait: b.opts.AckWait, stopping: ctx, work: work, held: map[jetstream.Msg]struct{}{}}
	var beats, all sync.WaitGroup
	beats.Go(func() { r.heartbeat(work) })
	flight := &flight{changed: make(chan struct{}, 1)}
	gone := r.takeAll(consumer, flight.room, flight.changed, func(msg jetstream.Msg) {
		if r.passes(msg) {
			return
		}
		items := r.read(msg)
		flight.add(1, len(msg.Data()))
		all.Go(func() {
			defer flight.add(-1, -len(msg.Data()))
			h.pass(r, msg, items)
		})
	})
	timer := time.AfterFunc(w.Drain, end)
	all.Wait()
	timer.Stop()
	end()
	beats.Wait()
	return gone
}

// flight is what is under way to the hub.
type flight struct {
	mu              sync.Mutex
	messages, bytes int
	changed         chan struct{} // told when there may be room; it holds one
}

func (f *flight) add(messages, bytes int) {
	f.mu.Lock()
	f.messages, f.bytes = f.messages+messages, f.bytes+bytes
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// room is how many messages to ask for now; 0 for none.
func (f *flight) room() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bytes >= forwardBytes {
		return 0
	}
	return min(forwardMessages-f.messages, fetchMessages)
}

// read holds a message and reads its items, which are nil where it is in a format
// that this node does not know: the hub may.
func (r *run) read(msg jetstream.Msg) []Item {
	items, err := decodeBatch(msg.Data(), msg.Subject())
	if err != nil {
		items = nil
	}
	r.w.Stats.in.Add(int64(max(len(items), 1)))
	r.hold(msg)
	return items
}

// pass stores a message at the hub, then lets it go. While the link is down it
// waits.
func (h *Hub) pass(r *run, msg jetstream.Msg, items []Item) {
	n := max(len(items), 1)
	began := time.Now()
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		link := h.link.Load()
		if link.ctx.Err() == nil {
			outs, dead := h.outgoing(r, msg, items)
			err := h.storeAll(r.work, link, outs)
			if err == nil && r.finish(msg, nil, dead, n) {
				if len(outs) > 0 {
					h.stored()
				}
				r.w.Stats.out.Add(int64(n - len(dead)))
				r.w.Stats.dead.Add(int64(len(dead)))
				r.w.Stats.produced.Add(int64(n - len(dead)))
				if r.w.Done != nil {
					for i := range items {
						r.w.Done(items[i], nil, time.Since(began))
					}
				}
				return
			}
			if err == nil {
				return // it was given back
			}
			if wait > 4*retryMin && link.ctx.Err() == nil {
				h.failed(err)
			}
			if link.ctx.Err() == nil {
				r.w.Stats.retried.Add(int64(n))
				sleepUnless(link.ctx, r.stopping, wait)
			}
		} else {
			select {
			case <-link.again:
				wait = retryMin
			case <-r.stopping.Done():
			}
		}
		if r.stopping.Err() != nil {
			r.giveBack(msg, n, 0)
			return
		}
	}
}

// sleepUnless waits for d, or until one of them ends.
func sleepUnless(a, b context.Context, d time.Duration) {
	ctx, cancel := context.WithCancel(a)
	defer cancel()
	defer context.AfterFunc(b, cancel)()
	_ = sleep(ctx, d) // whichever it was, the caller looks at both
}

// outgoing are the messages for the hub. One that is larger than what the hub
// takes is cut into several, whose items are what they were; an item that fits
// none is a dead letter of this node.
func (h *Hub) outgoing(r *run, msg jetstream.Msg, items []Item) (outs []*nats.Msg, dead []DeadLetter) {
	limit := int(h.limit.Load())
	if len(msg.Data())+headerRoom <= limit {
		return []*nats.Msg{{
			Subject: msg.Subject(), Data: msg.Data(),
			Header: nats.Header{jetstream.MsgIDHeader: {msg.Headers().Get(jetstream.MsgIDHeader)}},
		}}, nil
	}
	tooLarge := func(it Item) {
		dead = append(dead, r.letter(it, fmt.Errorf("%d bytes are more than the hub takes in one message, %d: raise max_payload there", len(it.Body), limit), msg))
	}
	if len(items) == 0 {
		tooLarge(Item{ID: NewID(msg.Data()), Subject: msg.Subject(), Body: msg.Data()})
		return nil, dead
	}
	var some []Item
	bytes := 0
	cut := func() {
		if len(some) > 0 {
			outs = append(outs, message(some))
		}
		some, bytes = nil, 0
	}
	for _, it := range items {
		if batchSize(1, len(it.Body))+headerRoom > limit {
			tooLarge(it)
			continue
		}
		if batchSize(len(some)+1, bytes+len(it.Body))+headerRoom > limit {
			cut()
		}
		some, bytes = append(some, it), bytes+len(it.Body)
	}
	cut()
	return outs, dead
}

// storeAll stores messages at the hub, each once; link is the one by which the
// answers come.
func (h *Hub) storeAll(ctx context.Context, link *link, msgs []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer context.AfterFunc(link.ctx, cancel)()
	for _, m := range msgs {
		_, err := h.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		switch {
		case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
			return fmt.Errorf("nobody at the hub takes %s: have its nodes started, and may this edge publish that?", m.Subject)
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("the hub gives no answer: is it overloaded, and may this edge subscribe to %s.>?", EdgeInbox(h.b.opts.Name))
		case err != nil:
			return fmt.Errorf("the hub: %w", err)
		}
	}
	return nil
}
