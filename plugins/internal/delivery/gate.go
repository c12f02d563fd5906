package delivery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstPause = 250 * time.Millisecond
	maxPause   = 15 * time.Second
	maxAsked   = 10 * time.Minute // of a pause that the target asks for
)

// Gate is patience with one target. While it answers, Gate lets attempts through;
// once one has failed, one attempt at a time goes through after a pause that
// doubles, so that a target that is away is not stormed when it returns. Make it
// with NewGate. Safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	fails   int
	until   time.Time // no attempt before
	trying  bool      // one attempt is under way while it fails
	failed  time.Time // the last time
	success time.Time // the last time
	change  chan struct{}
}

// NewGate is an open gate.
func NewGate() *Gate { return &Gate{change: make(chan struct{})} }

// Enter waits until an attempt may be made, or ctx ends; the error is ctx's.
// After it Leave has to be called with the time that it returned, or Abandon.
func (g *Gate) Enter(ctx context.Context) (began time.Time, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return time.Time{}, err
		}
		g.mu.Lock()
		wait := time.Until(g.until)
		if wait <= 0 && (g.fails == 0 || !g.trying) {
			g.trying = g.fails > 0
			g.mu.Unlock()
			return time.Now(), nil
		}
		change := g.change
		g.mu.Unlock()
		var timer *time.Timer
		var pause <-chan time.Time
		if wait > 0 {
			timer = time.NewTimer(wait)
			pause = timer.C
		}
		select {
		case <-change:
		case <-pause:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// Leave tells how the attempt ended. away: the target did not take it for a
// reason of its own. asked is the pause that it asked for, 0 for none. It returns
// whether that is news: the target went, or came back.
func (g *Gate) Leave(began time.Time, away bool, asked time.Duration) (news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	news = away != (g.fails > 0)
	switch {
	case away && began.Before(g.failed):
		// One of many that were under way when the target went: known already.
		if until := time.Now().Add(min(asked, maxAsked)); until.After(g.until) {
			g.until = until
		}
	case away:
		g.trying = false
		pause := min(firstPause<<min(g.fails, 10), maxPause)
		pause = pause/2 + rand.N(pause/2+1)
		g.fails++
		g.failed = time.Now()
		g.until = g.failed.Add(max(pause, min(asked, maxAsked)))
	default:
		g.trying = false
		g.fails = 0
		g.until = time.Time{}
		g.success = time.Now()
	}
	close(g.change)
	g.change = make(chan struct{})
	return news
}

// Silent reports whether nothing has got through since a time: then a failure
// since says nothing about the item that failed.
func (g *Gate) Silent(since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.success.Before(since)
}

// Abandon is Leave for an attempt that was given up here and says nothing about
// the target.
func (g *Gate) Abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying = false
	close(g.change)
	g.change = make(chan struct{})
}

// Failing reports whether the last that was heard of the target is a failure.
func (g *Gate) Failing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fails > 0
}
