package bridge

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestHands(t *testing.T) {
	h := hands{most: 3}
	var done atomic.Int64
	for round := range 3 {
		var wg sync.WaitGroup
		release := make(chan struct{})
		var busy sync.WaitGroup
		for range 10 {
			wg.Add(1)
			busy.Add(1)
			h.do(func() {
				defer wg.Done()
				busy.Done()
				<-release
				// A hand may give work to others while it has some itself.
				var inner sync.WaitGroup
				inner.Add(1)
				h.do(func() { done.Add(1); inner.Done() })
				inner.Wait()
			})
		}
		busy.Wait() // all at once, none waits for another
		close(release)
		wg.Wait()
		if got, want := done.Load(), int64(10*(round+1)); got != want {
			t.Fatalf("%d done, want %d", got, want)
		}
	}
	h.dismiss()
	if len(h.idle) != 0 {
		t.Errorf("%d are idle after all were dismissed", len(h.idle))
	}
	h.do(func() { done.Add(1) })
	h.dismiss()
	if done.Load() != 31 {
		t.Errorf("%d done, want 31: work after the end is done too", done.Load())
	}
}
