package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// service is a plugin that does so many calls at once, each in so long.
type service struct {
	places chan struct{}
	took   atomic.Int64
}

func newService(atOnce int, took time.Duration) *service {
	s := &service{places: make(chan struct{}, atOnce)}
	s.took.Store(int64(took))
	return s
}

func (s *service) call() {
	s.places <- struct{}{}
	<-time.After(time.Duration(s.took.Load()))
	<-s.places
}

// press calls the service from many callers at once, through the limiter, for so
// long, and returns how many calls were done.
func press(t *testing.T, l *limiter, s *service, callers int, d time.Duration) (calls int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var done atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil && l.acquire(ctx) == nil {
				began := time.Now()
				s.call()
				l.release(time.Since(began))
				if ctx.Err() == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := l.inFlight.Load(); n != 0 {
		t.Errorf("%d places are taken after all", n)
	}
	return done.Load()
}

// The limit finds what a plugin can do at once, and costs it next to nothing.
func TestLimiterFindsThePlugin(t *testing.T) {
	for _, tc := range []struct {
		name        string
		atOnce      int
		took        time.Duration
		least, most int64 // of the limit at the end
	}{
		{"one after the other", 1, 5 * time.Millisecond, 2, 10},
		{"one after the other, slow", 1, 100 * time.Millisecond, 1, 3},
		{"eight at once", 8, 40 * time.Millisecond, 8, 20},
		{"as many as come, far away", 1000, 200 * time.Millisecond, 128, 128},
		{"quick", 2, 300 * time.Microsecond, 128, 128},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const most, callers = 128, 200
				l := newLimiter(most)
				s := newService(tc.atOnce, tc.took)
				// As many calls for each, long enough for several slowdowns of the slow.
				d := tc.took * 6000 / time.Duration(min(tc.atOnce, most)) * 2
				d = max(d, min(2*slowdownEvery, 20_000*tc.took))
				for round := range 3 {
					calls := press(t, l, s, callers, d)
					could := float64(min(tc.atOnce, most)) * float64(d/tc.took)
					if share := float64(calls) / could; share < 0.97 {
						t.Errorf("round %d: %d calls, %.3f of what the plugin can do", round, calls, share)
					}
					if limit := l.limit.Load(); limit < tc.least || limit > tc.most {
						t.Errorf("round %d: the limit is %d, not within %d and %d", round, limit, tc.least, tc.most)
					}
				}
			})
		})
	}
}

// The limit follows a plugin that becomes another.
func TestLimiterFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(64)
		press(t, l, newService(1, 10*time.Millisecond), 100, 20*time.Second)
		if limit := l.limit.Load(); limit > 8 {
			t.Errorf("one call after the other: the limit is %d", limit)
		}
		wide := newService(64, 10*time.Millisecond)
		press(t, l, wide, 100, 3*time.Second)
		if limit := l.limit.Load(); limit != 64 {
			t.Errorf("64 at once: the limit is %d", limit)
		}
		// Each takes longer, without any queue: a new base is found in time.
		wide.took.Store(int64(80 * time.Millisecond))
		press(t, l, wide, 100, 7*slowdownEvery/4) // not while the next is looked for
		if limit := l.limit.Load(); limit != 64 {
			t.Errorf("64 at once, slower: the limit is %d", limit)
		}
	})
}

func TestLimiterGivesUpItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		if err := l.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.acquire(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire: %v", err)
		}
		got := make(chan error)
		go func() { got <- l.acquire(t.Context()) }()
		synctest.Wait()
		l.release(0)
		if err := <-got; err != nil {
			t.Error(err)
		}
		l.release(time.Millisecond)
		if err := l.acquire(t.Context()); err != nil || l.inFlight.Load() != 1 || l.queued.Load() != 0 {
			t.Errorf("%v, %d in flight, %d wait", err, l.inFlight.Load(), l.queued.Load())
		}
	})
}
