package bridge

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A message that is worked on is held: the server is told so again and again, or
// it would give the message to another worker after the ack wait.

func (r *run) hold(msg jetstream.Msg) {
	r.mu.Lock()
	r.held[msg] = struct{}{}
	r.mu.Unlock()
}

func (r *run) release(msg jetstream.Msg) {
	r.mu.Lock()
	delete(r.held, msg)
	r.mu.Unlock()
}

// heartbeat tells the server that what is held is worked on, and gives back what
// has waited too long.
func (r *run) heartbeat(ctx context.Context) {
	tick := time.NewTicker(r.ackWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.intake != nil {
			for _, t := range r.intake.overdue(max(r.ackWait, 5*holdFor)) {
				r.giveBack(t.msg, len(t.items), 0)
			}
		}
		r.mu.Lock()
		held := make([]jetstream.Msg, 0, len(r.held))
		for m := range r.held {
			held = append(held, m)
		}
		r.mu.Unlock()
		for _, m := range held {
			_ = m.InProgress()
		}
	}
}

// giveBack returns a message to the stream undone.
func (r *run) giveBack(msg jetstream.Msg, items int, delay time.Duration) {
	r.release(msg)
	r.w.Stats.returned.Add(int64(items))
	if r.lease != nil && !r.lease.Valid() {
		return // it may be another's by now, who is not to be disturbed
	}
	if delay > 0 {
		_ = msg.NakWithDelay(delay)
	} else {
		_ = msg.Nak()
	}
}
