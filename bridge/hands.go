package bridge

import "sync"

// hands are goroutines that do one piece of work after the other. A new one
// would first have to grow its stack for a call to a plugin, for every item
// anew, at more than a tenth of that call's cost. The zero value keeps none.
type hands struct {
	most int // that are kept when there is nothing to do

	mu   sync.Mutex
	idle []chan func()
	gone bool
	all  sync.WaitGroup
}

// do has f done by a hand that has nothing to do, or by a new one. It does not
// wait.
func (h *hands) do(f func()) {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		hand := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		hand <- f
		return
	}
	h.mu.Unlock()
	h.all.Go(func() {
		hand := make(chan func(), 1)
		for f != nil {
			f()
			if f = nil; h.rest(hand) {
				f = <-hand
			}
		}
	})
}

// rest puts a hand among the idle ones, or reports that it is not needed.
func (h *hands) rest(hand chan func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || len(h.idle) >= h.most {
		return false
	}
	h.idle = append(h.idle, hand)
	return true
}

// dismiss lets all go and returns when they have gone; those at work finish it.
func (h *hands) dismiss() {
	h.mu.Lock()
	h.gone = true
	for _, hand := range h.idle {
		close(hand)
	}
	h.idle = nil
	h.mu.Unlock()
	h.all.Wait()
}
