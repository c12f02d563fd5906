package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.lock")
	release, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); string(data) != strconv.Itoa(os.Getpid()) {
		t.Errorf("the lock holds %q, want the process id", data)
	}
	if !locked(dir) {
		t.Error("the folder is not locked")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPause)
	defer cancel()
	if _, err := Lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("a held lock gives %v, want the deadline and the file", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after release: %v", err)
	}
}

func TestStaleLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.lock")
	put(t, path, "1")
	old := time.Now().Add(-lockStale - time.Second)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if locked(dir) {
		t.Error("a stale lock counts")
	}
	release, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	// Another takes it over in turn: its lock must stay.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, path+".new", "2")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := release(); err == nil {
		t.Error("released a lock that was taken over")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the other's lock: %v", err)
	}
}

// One lock at a time, whoever comes.
func TestLockExcludes(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var inside sync.Mutex
	for range 8 {
		wg.Go(func() {
			release, err := Lock(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			if !inside.TryLock() {
				t.Error("two hold the lock")
				return
			}
			inside.Unlock()
			if err := release(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestLockWithoutFolder(t *testing.T) {
	if _, err := Lock(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("locked a folder that is not there")
	}
}

func TestWriteFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pipeline")
	for _, text := range []string{"patterns: {a: b}", "patterns: {a: c}"} {
		if err := WriteFile(t.Context(), dir, "sub/x.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(filepath.Join(dir, "sub", "x.yaml")); string(data) != text {
			t.Errorf("wrote %q, read %q", text, data)
		}
	}
	var names []string
	for _, d := range []string{dir, filepath.Join(dir, "sub")} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	if got := strings.Join(names, " "); got != "sub x.yaml" {
		t.Errorf("left behind: %s", got)
	}
	for _, name := range []string{"", "x.yml", "../x.yaml", "/x.yaml", "sub/../../x.yaml"} {
		if err := WriteFile(t.Context(), dir, name, nil); err == nil {
			t.Errorf("took the name %q", name)
		}
	}
	put(t, filepath.Join(dir, "config.lock"), "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteFile(ctx, dir, "sub/x.yaml", []byte("new")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a lock held: %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "sub", "x.yaml")); string(data) == "new" {
		t.Error("wrote in spite of the lock")
	}
}
