package wire

import (
	"context"
	"sync"
	"time"
)

// CallContext is the context of one of many calls, which ends when its owner says
// so: cheaper than one of package context, since a parent that has an end costs an
// entry there, and a deadline a timer on both sides of the socket. It is not copied,
// and not used for another call. All methods are safe for concurrent use.
type CallContext struct {
	// Context is for the values alone; its end is its owner's to watch.
	context.Context

	mu    sync.Mutex
	done  chan struct{} // made when somebody asks for it
	err   error
	funcs []*func()
}

// Deadline says none, so that gRPC does not send one along.
func (c *CallContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed by End.
func (c *CallContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err is what End was first called with; nil before.
func (c *CallContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what package context asks a parent of another type for; without
// it, every context made from this one would cost a goroutine.
func (c *CallContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	entry := &f
	c.funcs = append(c.funcs, entry)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, e := range c.funcs {
			if e == entry {
				c.funcs = append(c.funcs[:i], c.funcs[i+1:]...)
				return true
			}
		}
		return false
	}
}

// End ends the context with err, context.Canceled or DeadlineExceeded, and calls
// what waits for that. Only the first call does anything.
func (c *CallContext) End(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	funcs := c.funcs
	c.funcs = nil
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	for _, f := range funcs {
		(*f)()
	}
}
