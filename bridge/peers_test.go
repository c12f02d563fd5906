package bridge_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

func openPeer(t testing.TB, access func() (bridge.StateAccess, error), node string, change func(*bridge.PeersOptions)) *bridge.Peers {
	t.Helper()
	o := bridge.PeersOptions{
		Group: "cel", Node: node, Forget: 3 * time.Second, Access: access, Answers: 4,
		Answer: func(_ context.Context, request []byte) []byte { return append([]byte(node+" heard "), request...) },
	}
	if change != nil {
		change(&o)
	}
	p := bridge.OpenPeers(o)
	t.Cleanup(p.Close)
	return p
}

// lists waits until a peer lists these nodes.
func lists(t testing.TB, p *bridge.Peers, want ...string) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, ok := p.List()
		if ok && slices.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it lists %v, want %v", got, want)
		}
	}
}

// The plugin's user of the embedded server, and one of a server of somebody else,
// find and ask each other.
func TestPeersAsk(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	url := bridgetest.External(t)
	outside := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	if _, err := outside.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for name, access := range map[string]func() (bridge.StateAccess, error){
		"embedded": embedded(srv),
		"external": func() (bridge.StateAccess, error) { return bridge.StateAccess{URL: url}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := openPeer(t, access, "node a", nil) // names may have anything in them
			b := openPeer(t, access, "b.2", nil)
			other := openPeer(t, access, "node a", func(o *bridge.PeersOptions) { o.Group = "another plugin" })
			lists(t, a, "b.2")
			lists(t, b, "node a")
			lists(t, other)
			bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for p, node := range map[*bridge.Peers]string{a: "b.2", b: "node a"} {
				got, err := p.Ask(bounded, node, []byte("x"))
				if err != nil || string(got) != node+" heard x" {
					t.Errorf("%s: %q %v", node, got, err)
				}
			}
			if a.MaxAnswer() <= 0 {
				t.Error("no bound of answers")
			}
			// One that is gone is listed until it is forgotten, and known to be gone
			// at once.
			b.Close()
			if _, err := a.Ask(bounded, "b.2", nil); !errors.Is(err, bridge.ErrNobody) {
				t.Errorf("one that is gone: %v", err)
			}
			if got, _ := a.List(); !slices.Equal(got, []string{"b.2"}) {
				t.Errorf("it lists %v", got)
			}
			lists(t, a)
		})
	}
}

func TestPeersAreBounded(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	begun, held := make(chan struct{}, 10), make(chan struct{})
	a := openPeer(t, embedded(srv), "a", nil)
	openPeer(t, embedded(srv), "b", func(o *bridge.PeersOptions) {
		o.Answers = 1
		o.Answer = func(context.Context, []byte) []byte {
			begun <- struct{}{}
			<-held
			return []byte("late")
		}
	})
	lists(t, a, "b")
	first := make(chan error, 1)
	go func() {
		_, err := a.Ask(t.Context(), "b", nil)
		first <- err
	}()
	<-begun
	if _, err := a.Ask(t.Context(), "b", nil); err == nil || !strings.Contains(err.Error(), "too much to do") {
		t.Errorf("a second at once: %v", err)
	}
	close(held)
	if err := <-first; err != nil {
		t.Error(err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Ask(short, "b", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

// A server that comes back with another password is found again, and who is alone
// with a server without a port knows it.
func TestPeersFollowTheServer(t *testing.T) {
	dir := t.TempDir()
	srv := stateServer(t, dir, "127.0.0.1:0")
	current := make(chan bridge.StateAccess, 1)
	current <- srv.StateAccess()
	access := func() (bridge.StateAccess, error) {
		a := <-current
		current <- a
		return a, nil
	}
	a, b := openPeer(t, access, "a", longListed), openPeer(t, access, "b", longListed)
	lists(t, a, "b")
	lists(t, b, "a")
	srv.Shutdown()
	if _, err := a.Ask(t.Context(), "b", nil); err == nil {
		t.Error("an answer without a server")
	}
	srv = stateServer(t, dir, "127.0.0.1:0")
	<-current
	current <- srv.StateAccess()
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := a.Ask(short, "b", []byte("again"))
		cancel()
		if err == nil && string(got) == "b heard again" {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never again: %v", err)
		}
	}

	alone := openPeer(t, func() (bridge.StateAccess, error) { return bridge.StateAccess{}, bridge.ErrNoState }, "c", nil)
	<-alone.Known()
	lists(t, alone)
	if _, err := alone.Ask(t.Context(), "a", nil); err == nil {
		t.Error("one without a connection asked")
	}
}

func longListed(o *bridge.PeersOptions) { o.Forget = 10 * time.Minute }
