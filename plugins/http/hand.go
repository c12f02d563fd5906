package httpin

import (
	"sync"
	"sync/atomic"
)

// hand is what was taken and is not stored yet, of all requests together: a
// bound on memory, and what tells a client to come again.
type hand struct {
	maxRequests, maxBytes int

	mu       sync.Mutex
	requests int
	bytes    int
}

// claim is one request's part of the hand. It is let go when the request is
// answered and its last record is stored, whichever is later: what waits for the
// node goes on needing its memory.
type claim struct {
	of    *hand
	bytes atomic.Int64
	holds atomic.Int64
}

// enter takes a request in hand; nil where there are too many.
func (h *hand) enter() *claim {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.requests >= h.maxRequests {
		return nil
	}
	h.requests++
	c := &claim{of: h}
	c.holds.Store(1)
	return c
}

// state is what is in hand now.
func (h *hand) state() (requests, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests, h.bytes
}

// take makes n more bytes this request's; false where there is no room. What a
// request may need in all is bounded elsewhere, and a lone one always gets it: it
// would be told to come again for ever.
func (c *claim) take(n int) bool {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if others := c.of.bytes - int(c.bytes.Load()); others > 0 && c.of.bytes+n > c.of.maxBytes {
		return false
	}
	c.of.bytes += n
	c.bytes.Add(int64(n))
	return true
}

// give gives n bytes back.
func (c *claim) give(n int) {
	c.of.mu.Lock()
	c.of.bytes -= n
	c.of.mu.Unlock()
	c.bytes.Add(int64(-n))
}

// hold keeps the claim for one more; each needs its release.
func (c *claim) hold() { c.holds.Add(1) }

// release lets go; the last one gives all back.
func (c *claim) release() {
	if c.holds.Add(-1) > 0 {
		return
	}
	c.of.mu.Lock()
	c.of.requests--
	c.of.bytes -= int(c.bytes.Swap(0))
	c.of.mu.Unlock()
}
