package bridge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A limiter holds how many calls are with a plugin at once: as many as do not
// wait for each other there, up to the most that is allowed. It is LEDBAT
// (RFC 6817) with calls for packets, and the periodic slowdown of LEDBAT++
// (draft-irtf-iccrg-ledbat-plus-plus): what a call takes beyond the least that
// one has taken is time in a queue at the plugin. Below limitTarget of it one
// more call is let in each round, above it fewer are. So a plugin that works on
// one call after the other is kept busy by a few, and one whose calls only wait
// for something far away gets all that it may have. A plugin that answers within
// limitTarget is never held back.
type limiter struct {
	most int64
	now  func() time.Time

	// inFlight and limit are changed under mu; limit is read without.
	inFlight atomic.Int64
	limit    atomic.Int64
	base     atomic.Int64 // the least that a call took, in nanoseconds; 0: none yet
	slow     atomic.Bool  // the limit is below most, or a call was above the target
	queued   atomic.Int64 // len(waiting)

	mu       sync.Mutex
	exact    float64 // limit, with its fraction
	last     [limitFilter]time.Duration
	samples  int
	waiting  []chan struct{}
	slowdown time.Time // when the next one is due
	left     int       // calls of the slowdown that is under way
	before   float64   // limit before it
}

const (
	// limitTarget is what calls may wait for each other at the plugin. It has to
	// be well above what the two schedulers add to a call.
	limitTarget = 25 * time.Millisecond
	// limitFilter is over how many calls the least is taken, so that one that was
	// slow for its own sake says nothing.
	limitFilter = 4
	// slowdownEvery is how often a plugin that looks slow is given slowdownCalls
	// calls one by one, to see what a call takes without a queue: else a queue
	// that never empties would pass for the plugin's own time.
	slowdownEvery = 30 * time.Second
	slowdownCalls = 4
)

func newLimiter(most int) *limiter {
	l := &limiter{most: int64(max(most, 1)), now: time.Now}
	l.exact = float64(l.most)
	l.limit.Store(l.most)
	return l
}

// acquire waits for a place, or for ctx to end.
func (l *limiter) acquire(ctx context.Context) error {
	if l.inFlight.Add(1) <= l.limit.Load() {
		return nil
	}
	l.mu.Lock()
	if l.inFlight.Load() <= l.limit.Load() { // a place has come free
		l.mu.Unlock()
		return nil
	}
	l.inFlight.Add(-1)
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.queued.Add(1)
	l.wakeLocked()
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiting {
		if other == turn {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			l.queued.Add(-1)
			return ctx.Err()
		}
	}
	// The turn came at the same moment: it is the next one's.
	l.inFlight.Add(-1)
	l.wakeLocked()
	return ctx.Err()
}

// release gives the place back after a call that took so long; 0 where that says
// nothing of the plugin.
func (l *limiter) release(took time.Duration) {
	if took > 0 {
		base := l.base.Load()
		for base == 0 || int64(took) < base {
			if l.base.CompareAndSwap(base, int64(took)) {
				break
			}
			base = l.base.Load()
		}
		if took > limitTarget {
			l.slow.Store(true)
		}
	}
	l.inFlight.Add(-1)
	slow := l.slow.Load()
	if !slow && l.queued.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slow && took > 0 {
		l.learnLocked(took)
	}
	l.wakeLocked()
}

// learnLocked moves the limit by what a call took.
func (l *limiter) learnLocked(took time.Duration) {
	l.last[l.samples%limitFilter] = took
	l.samples++
	now := l.now()
	if l.slowdown.IsZero() {
		l.slowdown = now.Add(slowdownEvery)
	}
	if l.left > 0 {
		// Those that were under way before say nothing, nor does the first, which
		// may have waited for them.
		if l.inFlight.Load() == 0 {
			if l.left == slowdownCalls-1 {
				l.base.Store(int64(took))
			}
			l.left--
		}
		if l.left == 0 {
			l.slowdown = now.Add(slowdownEvery)
			l.set(l.before)
		}
		return
	}
	least := took
	for _, t := range l.last[:min(l.samples, limitFilter)] {
		least = min(least, t)
	}
	off := float64(least-time.Duration(l.base.Load()))/float64(limitTarget) - 1
	switch {
	case off > 0:
		// At most halved while one call after the other of a round comes back.
		l.set(l.exact - min(off, 0.5))
	case float64(l.inFlight.Load()+1) >= l.exact/2:
		l.set(l.exact - off/l.exact)
	}
	switch {
	case l.exact >= float64(l.most) && least <= limitTarget && len(l.waiting) == 0:
		l.slow.Store(false)
		l.slowdown = time.Time{}
	case now.After(l.slowdown):
		l.before, l.left = l.exact, slowdownCalls
		l.limit.Store(1)
	}
}

func (l *limiter) set(exact float64) {
	l.exact = min(max(exact, 1), float64(l.most))
	l.limit.Store(int64(l.exact))
}

// wakeLocked lets in who waits, as far as there are places.
func (l *limiter) wakeLocked() {
	for len(l.waiting) > 0 && l.inFlight.Load() < l.limit.Load() {
		l.inFlight.Add(1)
		l.queued.Add(-1)
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}
