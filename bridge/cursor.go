package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// ErrSuperseded is what a write under an old epoch returns: another has taken
// over, and what it wrote stays.
var ErrSuperseded = errors.New("superseded: another process has taken over")

// ErrCursorSize says that a cursor is too large to be kept.
var ErrCursorSize = errors.New("the cursors of a plugin may have 128 KiB in all")

const (
	cursorPrefix = "cursor."
	maxCursor    = 128 << 10
)

// Cursor is how far a singleton has come: a few small values by name, which are
// kept for whichever node runs it next. It belongs to one tenure. Its methods
// are safe for concurrent use.
type Cursor struct {
	store leaseStore
	key   string

	mu       sync.Mutex
	revision uint64
	value    cursorValue
}

type cursorValue struct {
	Epoch  uint64            `json:"epoch"`
	Values map[string][]byte `json:"values"`
}

// Cursor takes a singleton's cursors over for a tenure: from then on nobody
// writes them under a lower epoch. It waits for the server until ctx ends.
func (b *Bridge) Cursor(ctx context.Context, name string, epoch uint64) (*Cursor, error) {
	c := &Cursor{store: natsLeases{b.leases()}, key: cursorPrefix + stateToken(name)}
	c.value.Epoch = epoch
	c.mu.Lock()
	defer c.mu.Unlock()
	// What is there is unknown: the first write fails and looks.
	if err := c.write(ctx, func(map[string][]byte) {}); err != nil {
		return nil, fmt.Errorf("take cursor over: %w", err)
	}
	return c, nil
}

// Get is the value of that name, nil where there is none.
func (c *Cursor) Get(name string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value.Values[name]
}

// Put sets a value, and returns once that is stored. An empty value deletes. It
// waits for the server until ctx ends; then the value may have been stored or
// not, and Get still gives the one before.
func (c *Cursor) Put(ctx context.Context, name string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.write(ctx, func(values map[string][]byte) {
		if len(value) == 0 {
			delete(values, name)
		} else {
			values[name] = value
		}
	})
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	return nil
}

// write makes a change to what is stored. The lock is held.
func (c *Cursor) write(ctx context.Context, change func(map[string][]byte)) error {
	for wait := stateRetryMin; ; wait = min(2*wait, stateRetryMax) {
		next := cursorValue{Epoch: c.value.Epoch, Values: map[string][]byte{}}
		for name, v := range c.value.Values {
			next.Values[name] = v
		}
		change(next.Values)
		data, err := json.Marshal(next)
		if err != nil {
			return err
		}
		if len(data) > maxCursor {
			return ErrCursorSize
		}
		try, cancel := context.WithTimeout(ctx, stateTimeout)
		revision, err := c.store.put(try, c.key, data, c.revision)
		if err == nil {
			cancel()
			c.revision, c.value = revision, next
			return nil
		}
		// Somebody else wrote, or an attempt of ours whose answer did not come.
		looked := c.look(try)
		cancel()
		if errors.Is(looked, ErrSuperseded) {
			return looked
		}
		if errors.Is(err, ErrConflict) && looked == nil {
			continue
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}

// look reads what is stored. The lock is held.
func (c *Cursor) look(ctx context.Context) error {
	data, revision, err := c.store.get(ctx, c.key)
	if err != nil {
		return err
	}
	found := cursorValue{}
	if data != nil {
		if err := json.Unmarshal(data, &found); err != nil {
			return fmt.Errorf("a stored cursor cannot be read: %w", err)
		}
	}
	if found.Epoch > c.value.Epoch {
		return ErrSuperseded
	}
	c.revision, c.value.Values = revision, found.Values
	return nil
}
