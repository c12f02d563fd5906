package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// bench is a watch over a state that the test sets, in the bubble's time.
type bench struct {
	state atomic.Value // Stamp
	busy  atomic.Bool
	looks atomic.Int32
	calls atomic.Int32
	signs chan struct{}
}

func startBench(t *testing.T) *bench {
	b := &bench{signs: make(chan struct{})}
	b.state.Store(Stamp("old"))
	w := &watch{
		seen: "old",
		busy: b.busy.Load,
		look: func() Stamp {
			b.looks.Add(1)
			return b.state.Load().(Stamp)
		},
		changed: func() { b.calls.Add(1) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.run(ctx, b.signs) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
	})
	return b
}

// after lets time pass and then wants so many calls in all.
func (b *bench) after(t *testing.T, d time.Duration, want int32) {
	t.Helper()
	time.Sleep(d) // the bubble's time
	synctest.Wait()
	if got := b.calls.Load(); got != want {
		t.Errorf("%d calls, want %d", got, want)
	}
}

func TestWatchSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBench(t)
		b.after(t, time.Second, 0)
		if b.looks.Load() != 1 {
			t.Errorf("%d looks at the start, want 1", b.looks.Load())
		}
		b.state.Store(Stamp("new"))
		for range 5 {
			b.signs <- struct{}{}
			b.after(t, settle/2, 0)
		}
		b.after(t, settle, 1)
		b.signs <- struct{}{} // a sign without a change
		b.after(t, time.Second, 1)
		if b.looks.Load() != 3 {
			t.Errorf("%d looks, want one for each time the folder came to rest", b.looks.Load())
		}
	})
}

func TestWatchDoesNotWaitForeverForRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBench(t)
		b.after(t, time.Second, 0)
		b.state.Store(Stamp("new"))
		for range int(unrest/(settle/2)) + 1 {
			b.signs <- struct{}{}
			time.Sleep(settle / 2)
		}
		b.after(t, 0, 1)
	})
}

func TestWatchPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBench(t)
		b.after(t, time.Second, 0)
		b.state.Store(Stamp("new"))
		b.after(t, poll/2, 0)
		b.after(t, poll/2+settle, 1)
		b.after(t, 3*poll, 1)
	})
}

func TestWatchWaitsForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBench(t)
		b.busy.Store(true)
		b.state.Store(Stamp("new"))
		b.after(t, 30*time.Second, 0)
		b.busy.Store(false)
		b.after(t, settle, 1)
	})
}

// The whole of it, on a real folder that comes, changes and goes.
func TestWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pipeline")
	changed := make(chan struct{}, 16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	set, _ := Load(dir)
	go func() {
		ended <- Watch(ctx, dir, set.Stamp, hclog.NewNullLogger(), func() { changed <- struct{}{} })
	}()
	step := func(what string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("not told: %s", what)
		}
	}
	write := func(name, text string) func() error {
		return func() error { return WriteFile(ctx, dir, name, []byte(text)) }
	}
	step("the folder and a file in it", write("a.yaml", "patterns: {x: a}"))
	step("another content", write("a.yaml", "patterns: {x: abc}"))
	step("a file in a new folder", write(filepath.Join("sub", "b.yaml"), ""))
	step("a change there", write(filepath.Join("sub", "b.yaml"), "patterns: {}"))
	step("a file removed", func() error { return os.Remove(filepath.Join(dir, "a.yaml")) })
	step("the folder removed", func() error { return os.RemoveAll(dir) })
	step("the folder again", write("c.yaml", ""))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
}

func TestStamp(t *testing.T) {
	dir := t.TempDir()
	seen := map[Stamp]string{list(dir).stamp(): "empty"}
	differs := func(what string) {
		t.Helper()
		s := list(dir).stamp()
		if other, twice := seen[s]; twice {
			t.Errorf("%s: the same stamp as %s", what, other)
		}
		seen[s] = what
	}
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	put(t, a, "x")
	differs("a file")
	put(t, a, "xy")
	differs("its size")
	if err := os.Chtimes(a, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	differs("its time")
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
	differs("its name")
	before := list(dir).stamp()
	put(t, filepath.Join(dir, "notes.txt"), "x")
	put(t, filepath.Join(dir, lockName), "1")
	if list(dir).stamp() != before {
		t.Error("files that are not read change the stamp")
	}
	if set, _ := Load(dir); set.Stamp != before {
		t.Error("the set's stamp is another than the folder's")
	}
}
