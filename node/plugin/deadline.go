package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/epmesh/epmesh/node/wire"
)

// watchTick is how late a call's timeout, or its caller's end, may be seen.
const watchTick = 10 * time.Millisecond

// watch ends the calls of one client that last too long or whose caller has
// gone. It looks at those in flight every tick, from a timer that runs only
// while there are any.
//
// A context with a timeout for each call would do the same at five times the
// price: a timer, a channel and a map entry at the caller's context, and a
// deadline in the call's headers for which the plugin makes a timer as well. Next to
// a unary call that is a tenth of all. The plugin loses nothing: its handler's
// context is cancelled when the call is.
type watch struct {
	mu      sync.Mutex
	calls   []*callContext
	timer   *time.Timer
	running bool
}

// add makes a context that ends with the caller's, or at the deadline.
func (w *watch) add(caller context.Context, deadline time.Time) *callContext {
	c := &callContext{CallContext: wire.CallContext{Context: caller}, deadline: deadline}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.index = len(w.calls)
	w.calls = append(w.calls, c)
	if !w.running {
		w.running = true
		if w.timer == nil {
			w.timer = time.AfterFunc(watchTick, w.look)
		} else {
			w.timer.Reset(watchTick)
		}
	}
	return c
}

func (w *watch) remove(c *callContext) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.calls) - 1
	w.calls[c.index] = w.calls[last]
	w.calls[c.index].index = c.index
	w.calls[last] = nil
	w.calls = w.calls[:last]
}

func (w *watch) look() {
	now := time.Now()
	var over []*callContext
	w.mu.Lock()
	for _, c := range w.calls {
		if !now.Before(c.deadline) || c.Context.Err() != nil {
			over = append(over, c)
		}
	}
	if w.running = len(w.calls) > 0; w.running {
		w.timer.Reset(watchTick)
	}
	w.mu.Unlock()
	for _, c := range over {
		if err := c.Context.Err(); err != nil {
			c.End(err)
		} else {
			c.End(context.DeadlineExceeded)
		}
	}
}

// callContext is the context of one call under a watch.
type callContext struct {
	wire.CallContext // it has the caller's values

	deadline time.Time
	index    int // in watch.calls
}
