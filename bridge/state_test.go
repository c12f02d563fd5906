package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stateServer is an embedded server with a port and the bucket in it.
func stateServer(t testing.TB, dir, listen string) *bridge.Server {
	t.Helper()
	s, err := bridge.StartServer(bridge.ServerOptions{Name: "test", Dir: dir, Listen: listen, SyncInterval: time.Minute, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
	if _, err := b.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func openState(t testing.TB, scope string, access func() (bridge.StateAccess, error)) *bridge.State {
	t.Helper()
	s, err := bridge.OpenState(t.Context(), bridge.StateOptions{Name: "test", Scope: scope, Access: access})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func embedded(s *bridge.Server) func() (bridge.StateAccess, error) {
	return func() (bridge.StateAccess, error) { return s.StateAccess(), nil }
}

func TestStateComparesAndSets(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	a, b := openState(t, "x/y", embedded(srv)), openState(t, "x/y", embedded(srv))
	other := openState(t, "z", embedded(srv))
	ctx := t.Context()
	put := func(s *bridge.State, value string, revision uint64, want error) uint64 {
		t.Helper()
		r, err := s.Put(ctx, "g.1", []byte(value), revision, time.Hour)
		if !errors.Is(err, want) {
			t.Fatalf("put %s over %d: %v, want %v", value, revision, err, want)
		}
		return r
	}
	get := func(s *bridge.State, want string) uint64 {
		t.Helper()
		e, err := s.Get(ctx, "g.1")
		if err != nil || string(e.Value) != want {
			t.Fatalf("get: %q %v, want %q", e.Value, err, want)
		}
		return e.Revision
	}
	if r := get(a, ""); r != 0 {
		t.Errorf("revision %d of nothing", r)
	}
	first := put(a, "one", 0, nil)
	put(b, "two", 0, bridge.ErrConflict)
	second := put(b, "two", first, nil)
	put(a, "three", first, bridge.ErrConflict)
	if r := get(a, "two"); r != second {
		t.Errorf("revision %d, want %d", r, second)
	}
	get(other, "")
	if err := a.Delete(ctx, "g.1", first); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("delete of an old revision: %v", err)
	}
	if err := a.Delete(ctx, "g.1", second); err != nil {
		t.Fatal(err)
	}
	gone := get(b, "")
	put(b, "four", 0, bridge.ErrConflict)
	put(b, "four", gone, nil)

	for _, key := range []string{"", ".", "a..b", "a.", "a b", "a.*", ">", strings.Repeat("x", 201)} {
		if _, err := a.Get(ctx, key); err == nil {
			t.Errorf("key %q is taken", key)
		}
		if _, err := a.Put(ctx, key, nil, 0, time.Hour); err == nil {
			t.Errorf("key %q is written", key)
		}
	}
	for _, keep := range []time.Duration{0, time.Millisecond, bridge.MaxStateAge + time.Second} {
		if _, err := a.Put(ctx, "k", nil, 0, keep); err == nil {
			t.Errorf("keep %s is taken", keep)
		}
	}
}

func TestStateExpires(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	s := openState(t, "x", embedded(srv))
	if _, err := s.Put(t.Context(), "short", []byte("v"), 0, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "long", []byte("v"), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		e, err := s.Get(t.Context(), "short")
		if err != nil {
			t.Fatal(err)
		}
		if e.Value == nil {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("a key that was to be kept for a second is still there")
		}
	}
	if e, err := s.Get(t.Context(), "long"); err != nil || e.Value == nil {
		t.Errorf("the other: %v %v", e, err)
	}
	if _, err := s.Put(t.Context(), "short", []byte("v"), 0, time.Hour); err != nil {
		t.Errorf("made again: %v", err)
	}
}

// Writers that read, change and write lose none of their changes.
func TestStateUnderContention(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	const writers, rounds = 8, 25
	var group sync.WaitGroup
	var conflicts atomic.Int64
	for range writers {
		s := openState(t, "x", embedded(srv))
		group.Go(func() {
			for done := 0; done < rounds; {
				e, err := s.Get(t.Context(), "n")
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				_, _ = fmt.Sscan(string(e.Value), &n)
				switch _, err := s.Put(t.Context(), "n", fmt.Append(nil, n+1), e.Revision, time.Hour); {
				case err == nil:
					done++
				case errors.Is(err, bridge.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	e, err := openState(t, "x", embedded(srv)).Get(t.Context(), "n")
	if err != nil || string(e.Value) != fmt.Sprint(writers*rounds) {
		t.Errorf("counted to %s, want %d: %v", e.Value, writers*rounds, err)
	}
	t.Logf("%d conflicts", conflicts.Load())
}

// The server comes back with another password and port; who waits goes on.
func TestStateFollowsTheServer(t *testing.T) {
	dir := t.TempDir()
	var srv atomic.Pointer[bridge.Server]
	srv.Store(stateServer(t, dir, "127.0.0.1:0"))
	s := openState(t, "x", func() (bridge.StateAccess, error) { return srv.Load().StateAccess(), nil })
	r, err := s.Put(t.Context(), "k", []byte("v"), 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	srv.Load().Shutdown()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Get(short, "k"); err == nil {
		t.Error("a server that is away has answered")
	}
	if _, err := s.Put(t.Context(), "k", []byte("w"), r, time.Hour); err == nil || errors.Is(err, bridge.ErrConflict) {
		t.Errorf("put while it is away: %v", err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("it is said to be there")
	}
	got := make(chan bridge.StateEntry, 1)
	go func() {
		e, err := s.Get(t.Context(), "k")
		if err != nil {
			t.Error(err)
		}
		got <- e
	}()
	srv.Store(stateServer(t, dir, "127.0.0.1:0"))
	if e := <-got; string(e.Value) != "v" || e.Revision != r {
		t.Errorf("after the restart: %q %d", e.Value, e.Revision)
	}
}

// The plugins' user reaches the state and nothing else.
func TestPluginUserReachesOnlyTheState(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	a := srv.StateAccess()
	refused := make(chan error, 100)
	nc, err := nats.Connect(a.URL, nats.UserInfo(a.User, a.Password), nats.CustomInboxPrefix("_INBOX_EPMESH_STATE"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	wait := func(what string) {
		t.Helper()
		if err := nc.FlushTimeout(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: is allowed", what)
		}
	}
	for _, subject := range []string{
		bridge.LogSubject("t", "d"), bridge.AlertSubject("t", "d"), bridge.MessageSubject("x"), "epmesh.control.status", "$KV.OTHER.k",
		"$JS.API.STREAM.CREATE.NEW", "$JS.API.STREAM.DELETE.KV_EPMESH_STATE", "$JS.API.STREAM.PURGE.KV_EPMESH_STATE",
		"$JS.API.STREAM.UPDATE.KV_EPMESH_STATE", "$JS.API.STREAM.MSG.DELETE.KV_EPMESH_STATE", "$JS.API.STREAM.MSG.GET.EPMESH_ALERT",
		"$JS.API.DIRECT.GET.EPMESH_ALERT.x", "$JS.API.STREAM.INFO.EPMESH_ALERT", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.CREATE.KV_EPMESH_STATE",
		"epmesh.history", "$JS.API.CONSUMER.MSG.NEXT.EPMESH_ALERT.keep", "$JS.ACK.EPMESH_ALERT.keep.1.1.1.1.1", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "_INBOX.x",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		wait("publish " + subject)
	}
	for _, subject := range []string{">", "epmesh.>", "$KV.>", "$KV.EPMESH_STATE.>", "_INBOX.>", "$JS.>", "$JS.ACK.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wait("subscribe " + subject)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "KV_EPMESH_STATE"); err != nil {
		t.Errorf("the state itself: %v", err)
	}
}

func TestStateAccessFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run", "state.json")
	if _, err := bridge.ReadStateAccess(file, ""); !errors.Is(err, bridge.ErrNoState) || !strings.Contains(err.Error(), "NATS_URL") {
		t.Errorf("no file: %v", err)
	}
	if a, err := bridge.ReadStateAccess(file, "nats://h:1"); err != nil || a.URL != "nats://h:1" {
		t.Errorf("only NATS_URL: %v %v", a, err)
	}
	want := bridge.StateAccess{URL: "nats://127.0.0.1:1", User: "plugin", Password: "secret"}
	if err := bridge.WriteStateAccess(file, want); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
	if a, err := bridge.ReadStateAccess(file, "nats://h:1"); err != nil || a != want {
		t.Errorf("read back: %v %v", a, err)
	}
	if err := bridge.WriteStateAccess(file, bridge.StateAccess{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bridge.ReadStateAccess(file, ""); !errors.Is(err, bridge.ErrNoState) || !strings.Contains(err.Error(), "nats.listen") {
		t.Errorf("no port: %v", err)
	}
	if err := os.WriteFile(file, []byte("secret{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bridge.ReadStateAccess(file, ""); err == nil || strings.Contains(err.Error(), "secret{") {
		t.Errorf("no JSON: %v", err)
	}
}

// What cannot work is said at once, and without secrets.
func TestStateRefused(t *testing.T) {
	srv := stateServer(t, t.TempDir(), "127.0.0.1:0")
	open := func(ctx context.Context, a bridge.StateAccess) error {
		_, err := bridge.OpenState(ctx, bridge.StateOptions{Name: "x", Scope: "x", Access: func() (bridge.StateAccess, error) { return a, nil }})
		return err
	}
	wrong := srv.StateAccess()
	wrong.Password = "hunter2"
	if err := open(t.Context(), wrong); !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("wrong password: %v", err)
	}
	bare := bridge.StateAccess{URL: bridgetest.External(t)}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := open(short, bare); err == nil || !strings.Contains(err.Error(), "no bucket EPMESH_STATE") {
		t.Errorf("no bucket: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	short, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := open(short, bridge.StateAccess{URL: "nats://me:hunter2@" + l.Addr().String()}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody there: %v", err)
	}
}
