package delivery

import (
	"context"
	"crypto/sha256"
	"sync"
)

// Once knows what was delivered, so that a message that comes again is not
// delivered again. The zero value is not ready; use NewOnce. Safe for concurrent
// use.
type Once struct {
	mu    sync.Mutex
	busy  map[Key]chan struct{}
	done  map[Key]struct{}
	order []Key // a ring of the keys in done
	next  int
}

// Key is what a message is known by.
type Key [16]byte

// KeyOf is the key of a message's id and topic.
func KeyOf(id, topic string) Key {
	sum := sha256.Sum256([]byte(id + "\x00" + topic))
	return Key(sum[:16])
}

// NewOnce remembers the last so many.
func NewOnce(most int) *Once {
	return &Once{busy: map[Key]chan struct{}{}, done: map[Key]struct{}{}, order: make([]Key, 0, most)}
}

// Do runs f unless it was run for key before and returned nil. While it runs,
// another call with the same key waits for it, and then returns nil too, or runs
// f itself if it failed. The error is f's or that of ctx.
func (o *Once) Do(ctx context.Context, key Key, f func() error) error {
	for {
		o.mu.Lock()
		if _, ok := o.done[key]; ok {
			o.mu.Unlock()
			return nil
		}
		busy, ok := o.busy[key]
		if !ok {
			busy = make(chan struct{})
			o.busy[key] = busy
			o.mu.Unlock()
			return o.run(key, busy, f)
		}
		o.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *Once) run(key Key, busy chan struct{}, f func() error) (err error) {
	ok := false // f may panic
	defer func() {
		o.mu.Lock()
		delete(o.busy, key)
		if ok {
			o.add(key)
		}
		o.mu.Unlock()
		close(busy)
	}()
	err = f()
	ok = err == nil
	return err
}

// Add notes what was delivered.
func (o *Once) Add(key Key) {
	o.mu.Lock()
	o.add(key)
	o.mu.Unlock()
}

// Has reports whether it was delivered.
func (o *Once) Has(key Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.done[key]
	return ok
}

func (o *Once) add(key Key) {
	if _, ok := o.done[key]; ok || cap(o.order) == 0 {
		return
	}
	if len(o.order) < cap(o.order) {
		o.order = append(o.order, key)
	} else {
		delete(o.done, o.order[o.next])
		o.order[o.next] = key
		o.next = (o.next + 1) % len(o.order)
	}
	o.done[key] = struct{}{}
}
