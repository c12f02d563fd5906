// Package bridgetest gives tests real JetStream servers in the process, and
// bridges to them.
package bridgetest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/nats-io/nats-server/v2/server"
)

// Server starts an embedded server for the test, in a folder of the test, with
// writes synced in the background.
func Server(tb testing.TB) *bridge.Server {
	tb.Helper()
	return ServerIn(tb, tb.TempDir(), time.Minute)
}

// ServerIn starts an embedded server over dir; sync 0 syncs every write. It is
// shut down at the end of the test; a test may do so earlier.
func ServerIn(tb testing.TB, dir string, sync time.Duration) *bridge.Server {
	tb.Helper()
	s, err := bridge.StartServer(bridge.ServerOptions{
		Name: "test", Dir: filepath.Join(dir, "nats"), SyncInterval: sync, MaxPayload: 1 << 20,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Shutdown)
	return s
}

// External starts a server as somebody else runs it and returns its URL.
func External(tb testing.TB) string {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: tb.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		tb.Fatal("nats server not ready")
	}
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// Open opens a bridge with short times; change may set more. It is closed at
// the end of the test.
func Open(tb testing.TB, change func(*bridge.Options)) *bridge.Bridge {
	tb.Helper()
	o := bridge.Options{Name: "test-node", AckWait: 2 * time.Second, Attempts: 3}
	change(&o)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := bridge.Open(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

// Each runs a test over an embedded server and over an external one.
func Each(t *testing.T, f func(t *testing.T, open func(change ...func(*bridge.Options)) *bridge.Bridge)) {
	t.Run("embedded", func(t *testing.T) {
		s := Server(t)
		f(t, opener(t, func(o *bridge.Options) { o.Server = s }))
	})
	t.Run("external", func(t *testing.T) {
		url := External(t)
		f(t, opener(t, func(o *bridge.Options) { o.URL = url }))
	})
}

func opener(t *testing.T, where func(*bridge.Options)) func(change ...func(*bridge.Options)) *bridge.Bridge {
	return func(change ...func(*bridge.Options)) *bridge.Bridge {
		t.Helper()
		return Open(t, func(o *bridge.Options) {
			where(o)
			for _, c := range change {
				c(o)
			}
		})
	}
}
