package bridge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/google/go-cmp/cmp"
)

func revision(message string) bridge.Revision {
	return bridge.Revision{Author: "a@h", Message: message, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func push(t *testing.T, b *bridge.Bridge, message string, content []byte) bridge.Revision {
	t.Helper()
	base, err := b.CurrentRevision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.PushRevision(t.Context(), base, revision(message), content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was pushed is read as it was, also where it takes many messages, and each
// revision knows the one before it.
func TestRevisions(t *testing.T) {
	t.Parallel()
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		t.Parallel()
		b := open()
		if r, err := b.CurrentRevision(t.Context()); err != nil || r.Number != 0 {
			t.Fatal(r, err)
		}
		large := make([]byte, 3<<20)
		rand.Read(large) // nothing makes it smaller
		contents := [][]byte{[]byte("one"), large, {}}
		for i, content := range contents {
			r := push(t, b, fmt.Sprint(i), content)
			if r.Number != uint64(i+1) || r.Parent != uint64(i) {
				t.Errorf("push %d became %d after %d", i, r.Number, r.Parent)
			}
		}
		list, err := b.Revisions(t.Context())
		if err != nil || len(list) != len(contents) {
			t.Fatal(list, err)
		}
		for i, r := range list {
			n := len(contents) - 1 - i
			got, err := b.RevisionContent(t.Context(), r)
			if err != nil || !bytes.Equal(got, contents[n]) || r.Message != fmt.Sprint(n) {
				t.Errorf("revision %d: %d bytes, %v", r.Number, len(got), err)
			}
		}
		if n := len(list[1].Chunks); n < 12 {
			t.Errorf("3 MiB in %d chunks", n)
		}
		if _, err := b.Revision(t.Context(), 9); !errors.Is(err, bridge.ErrNoRevision) {
			t.Errorf("revision 9: %v", err)
		}
	})
}

// Of those who push at once after the same revision exactly one wins, and the
// others are told whose came first.
func TestPushersAtOnce(t *testing.T) {
	t.Parallel()
	s := bridgetest.Server(t)
	const pushers = 8
	first := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
	base := push(t, first, "base", []byte("base"))
	var all sync.WaitGroup
	var mu sync.Mutex
	var won []bridge.Revision
	for i := range pushers {
		b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
		all.Go(func() {
			r, err := b.PushRevision(t.Context(), base, revision(fmt.Sprint(i)), fmt.Appendf(nil, "content %d", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, r)
			case !errors.Is(err, bridge.ErrConflict):
				t.Error(err)
			case r.Number != 2:
				t.Errorf("who lost is told of %+v", r)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d have won", len(won))
	}
	list, err := first.Revisions(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != won[0].ID || list[1].ID != base.ID {
		t.Fatal(list, err)
	}
	if got, err := first.RevisionContent(t.Context(), list[0]); err != nil || string(got) != "content "+list[0].Message {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRevisionsAreBounded(t *testing.T) {
	t.Parallel()
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	if _, err := b.PushRevision(t.Context(), bridge.Revision{}, revision(""), make([]byte, bridge.MaxRevision+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too large: %v", err)
	}
	for i := range bridge.RevisionsKept + 3 {
		push(t, b, "", fmt.Appendf(nil, "content %d", i))
	}
	list, err := b.Revisions(t.Context())
	if err != nil || len(list) != bridge.RevisionsKept || list[0].Number != bridge.RevisionsKept+3 {
		t.Fatalf("%d revisions, %v", len(list), err)
	}
	for _, r := range list {
		if _, err := b.RevisionContent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// A watch tells of the current revision and of each that follows; what nodes
// made of it is known by node.
func TestWatchAndReports(t *testing.T) {
	t.Parallel()
	s := bridgetest.Server(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
	push(t, b, "first", []byte("1"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var told []string
	err := b.WatchRevision(ctx, func(r bridge.Revision) {
		told = append(told, r.Message)
		if r.Message == "first" {
			push(t, b, "second", []byte("2"))
		} else {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first", "second"}, told); diff != "" {
		t.Error(diff)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []bridge.RevisionReport{
		{Node: "n1", Version: "v1", Time: at, Seen: 2, Applied: 2},
		{Node: "n2 of b", Version: "v1", Time: at, Seen: 2, Applied: 1, Refused: true, Reasons: []string{"a.yaml:1:1: error: no"}},
	}
	for _, r := range want {
		if err := b.ReportRevision(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.RevisionReports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The users of plugins cannot read what may hold secrets.
func TestPluginsCannotReadRevisions(t *testing.T) {
	t.Parallel()
	server, err := bridge.StartServer(bridge.ServerOptions{Name: "s", Dir: t.TempDir(), Listen: "127.0.0.1:0", SyncInterval: time.Minute, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	push(t, b, "secret", []byte("password: hunter2"))
	a := server.StateAccess()
	other := bridgetest.Open(t, func(o *bridge.Options) { o.URL, o.User, o.Password = a.URL, a.User, a.Password })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if r, err := other.CurrentRevision(ctx); err == nil {
		t.Errorf("a plugin's user reads %+v", r)
	}
}
