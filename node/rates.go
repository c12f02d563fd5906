package node

import (
	"context"
	"sync"
	"time"
)

// rates are how fast counters move, over the last few seconds.
type rates struct {
	mu      sync.Mutex
	samples map[string][]sample
}

type sample struct {
	at    time.Time
	count int64
}

const (
	sampleEvery = time.Second
	samplesKept = 6
)

func newRates() *rates { return &rates{samples: map[string][]sample{}} }

// add remembers where a counter stands.
func (r *rates) add(name string, at time.Time, count int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := append(r.samples[name], sample{at, count})
	if len(s) > samplesKept {
		s = s[len(s)-samplesKept:]
	}
	r.samples[name] = s
}

// of is the counter's rate a second, over what has been sampled and now.
func (r *rates) of(name string, at time.Time, count int64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.samples[name]
	if len(s) == 0 || at.Sub(s[0].at) <= 0 {
		return 0
	}
	return float64(count-s[0].count) / at.Sub(s[0].at).Seconds()
}

// sample samples all counters that have a rate.
func (n *Node) sample(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, w := range n.workers.list() {
			n.rates.add(w.String(), now, w.done())
		}
		for _, in := range n.engine.Inputs() {
			n.rates.add("input "+in.Kind, now, int64(in.Received))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// done is how many items the worker has come to an end with.
func (w *worker) done() int64 {
	c := w.stats.Snapshot()
	return c.Out + c.Dropped + c.Dead
}
