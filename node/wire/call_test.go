package wire

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Contexts of package context that are made from a call's end with it, and let it
// go when they end before.
func TestCallContext(t *testing.T) {
	type key struct{}
	c := &CallContext{Context: context.WithValue(t.Context(), key{}, "value")}
	if _, dated := c.Deadline(); dated || c.Err() != nil || c.Value(key{}) != "value" {
		t.Errorf("new: dated %t, %v, %v", dated, c.Err(), c.Value(key{}))
	}
	child, cancel := context.WithCancel(c)
	defer cancel()
	early, cancelEarly := context.WithCancel(c)
	cancelEarly()
	if <-early.Done(); len(c.funcs) != 1 {
		t.Errorf("%d wait for the end, not one", len(c.funcs))
	}
	done := c.Done()
	c.End(context.DeadlineExceeded)
	c.End(context.Canceled)
	<-done
	<-child.Done()
	for name, ctx := range map[string]context.Context{"the call": c, "its child": child, "a late child": late(c)} {
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("%s ended with %v", name, ctx.Err())
		}
	}
	if called := make(chan bool); c.AfterFunc(func() { close(called) })() {
		t.Error("what was called was stopped")
	} else {
		<-called
	}
}

func late(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// Each function is called once, or was stopped.
func TestCallContextConcurrently(t *testing.T) {
	for range 200 {
		c := &CallContext{Context: t.Context()}
		var called, stopped atomic.Int64
		var all sync.WaitGroup
		const n = 8
		for i := range n {
			all.Go(func() {
				all.Add(1)
				stop := c.AfterFunc(func() { defer all.Done(); called.Add(1) })
				if i%2 == 0 && stop() {
					stopped.Add(1)
					all.Done()
				}
				<-c.Done()
			})
		}
		all.Go(func() { c.End(context.Canceled) })
		all.Wait()
		if sum := called.Load() + stopped.Load(); sum != n {
			t.Fatalf("%d called and %d stopped of %d", called.Load(), stopped.Load(), n)
		}
	}
}
