package bridge_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// A tenure finds what the one before has written, and ends its writes.
func TestCursorIsFenced(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		if _, err := b.Ensure(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		take := func(epoch uint64) *bridge.Cursor {
			t.Helper()
			c, err := b.Cursor(t.Context(), "poller a/b", epoch)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		put := func(c *bridge.Cursor, name, value string, want error) {
			t.Helper()
			if err := c.Put(t.Context(), name, []byte(value)); !errors.Is(err, want) {
				t.Errorf("put %s: %v, want %v", value, err, want)
			}
		}
		first := take(7)
		if v := first.Get("page"); v != nil {
			t.Errorf("a new one holds %q", v)
		}
		put(first, "page", "1", nil)
		put(first, "page", "2", nil)
		put(first, "other", "x", nil)
		second := take(9)
		if v := second.Get("page"); string(v) != "2" {
			t.Errorf("taken over: %q", v)
		}
		// Before the second has written anything.
		put(first, "page", "3", bridge.ErrSuperseded)
		put(second, "page", "4", nil)
		put(second, "other", "", nil)
		put(first, "page", "5", bridge.ErrSuperseded)
		if _, err := b.Cursor(t.Context(), "poller a/b", 8); !errors.Is(err, bridge.ErrSuperseded) {
			t.Errorf("taken over by an older one: %v", err)
		}
		put(second, "large", string(bytes.Repeat([]byte("x"), 1<<17)), bridge.ErrCursorSize)
		third := take(9) // of the same tenure, started again
		if v := third.Get("page"); string(v) != "4" || third.Get("other") != nil {
			t.Errorf("again: %q %q", v, third.Get("other"))
		}
	})
}
