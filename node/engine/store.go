package engine

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

// Pauses between attempts of a Publisher or DeadLetters that failed although
// the server is not stopping.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 5 * time.Second
)

// store returns once all of the batch is stored, as items or as dead letters.
// It fails only when the server stops.
func (r *run) store(c *counters, b *batch) error {
	err := r.publish(c, b.items)
	if err == nil && len(b.refused) > 0 {
		err = r.dead(b.refused)
		if err == nil {
			for i, why := range b.reasons {
				c.refused[why].Add(1)
				r.warn(why, b.refused[i])
			}
		} else {
			r.abandon(c, len(b.refused))
		}
	} else if err != nil {
		r.abandon(c, len(b.refused))
	}
	return err
}

// publish stores items. Where one of them never can be, it halves them until
// that one is alone, which becomes a dead letter.
func (r *run) publish(c *counters, items []bridge.Item) error {
	if len(items) == 0 {
		return nil
	}
	err := r.retry("store", func() error { return r.publisher.Publish(r.ctx, items...) })
	switch {
	case err == nil:
		c.stored.Add(uint64(len(items)))
		return nil
	case !bridge.IsPermanent(err):
		r.abandon(c, len(items))
		return err
	case len(items) > 1:
		half := len(items) / 2
		if err := r.publish(c, items[:half]); err != nil {
			r.abandon(c, len(items)-half)
			return err
		}
		return r.publish(c, items[half:])
	}
	it := items[0]
	refused := Refused{ID: it.ID, Received: it.Received, Subject: it.Subject, Reason: err.Error(), Body: it.Body}
	if err := r.dead([]Refused{refused}); err != nil {
		r.abandon(c, 1)
		return err
	}
	c.refused[unstorable].Add(1)
	r.warn(unstorable, refused)
	return nil
}

func (r *run) dead(refused []Refused) error {
	return r.retry("store dead letters", func() error {
		err := r.deadLetters.Dead(r.ctx, refused...)
		if bridge.IsPermanent(err) {
			// Nothing is left to do with it but to try again: it is not lost
			// while it is not acked.
			return &unmarked{err}
		}
		return err
	})
}

// unmarked hides what an error is marked as.
type unmarked struct{ err error }

func (u *unmarked) Error() string { return u.err.Error() }

// retry calls f until it succeeds, fails for good, or the server stops.
func (r *run) retry(what string, f func() error) error {
	pause := retryMin
	for {
		err := f()
		if err == nil || bridge.IsPermanent(err) {
			return err
		}
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		r.failing.Do(func() {
			r.log.Error("cannot "+what+" what came in, trying again", "error", err)
		})
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
		pause = min(2*pause, retryMax)
	}
}

// abandon counts what was taken and will not be acked.
func (r *run) abandon(c *counters, n int) { c.abandoned.Add(uint64(n)) }

// warn says, now and then, what was refused.
func (r *run) warn(why reason, x Refused) {
	r.warnings[why].Do(func() {
		r.log.Warn("refused what came in, see the dead letters",
			"reason", reasonNames[why], "detail", x.Reason, "subject", x.Subject, "item", x.ID)
	})
}
