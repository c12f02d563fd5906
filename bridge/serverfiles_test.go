package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/logbuffer"
)

// A server with the written configuration takes a node with the written context,
// and what the bridge does is within its permissions.
func TestServerFiles(t *testing.T) {
	dir := t.TempDir()
	files := bridge.ServerFiles{Servers: []string{"127.0.0.1"}, Store: filepath.Join(dir, "store"), Sync: "always"}
	if err := bridge.WriteServerFiles(dir, files); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1.conf", "node.json", "operator.json"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.WriteServerFiles(dir, files); !errors.Is(err, bridge.ErrFilesThere) {
		t.Errorf("a second time: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "node.json")); err != nil || string(after) != string(before) {
		t.Errorf("it was changed: %v", err)
	}

	opts, err := server.ProcessConfigFile(filepath.Join(dir, "127.0.0.1.conf"))
	if err != nil {
		t.Fatal(err)
	}
	// The ports of the file may be in use here.
	opts.Host, opts.Port, opts.HTTPPort, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, true, true
	if !opts.SyncAlways {
		t.Error("not every write is synced")
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	context := strings.ReplaceAll(string(before), net.JoinHostPort("127.0.0.1", "4222"), srv.Addr().String())
	file := filepath.Join(dir, "here.json")
	if err := os.WriteFile(file, []byte(context), 0o600); err != nil {
		t.Fatal(err)
	}
	said := new(logbuffer.Buffer)
	log := hclog.New(&hclog.LoggerOptions{Output: said, Level: hclog.Warn})
	b, err := bridge.Open(t.Context(), bridge.Options{Name: "n", Context: file, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	useAll(t, b)
	if text := said.String(); strings.Contains(text, "ermissions") {
		t.Errorf("it is not allowed what it needs:\n%s", text)
	}
}

// useAll has the bridge do what nodes do.
func useAll(t *testing.T, b *bridge.Bridge) {
	t.Helper()
	c := bridge.CorrelationConsumer("c")
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{c}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 3)
	taken := make(chan bridge.Item, 2)
	go func() {
		ended <- b.Consume(ctx, bridge.Work{Consumer: c, Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			taken <- it
			return []bridge.Item{{ID: it.ID.Derive("m", 0), Subject: bridge.MessageSubject("x"), Body: it.Body}}, nil
		}})
	}()
	go func() { ended <- b.Keep(ctx) }()
	ready := make(chan struct{})
	go func() {
		ended <- b.Serve(ctx, "status", func() { close(ready) }, func() ([]byte, error) { return []byte("well"), nil })
	}()
	<-ready
	if answers, err := b.Ask(t.Context(), "status", 100*time.Millisecond); err != nil || len(answers) != 1 {
		t.Errorf("ask: %q, %v", answers, err)
	}
	if err := b.Publish(t.Context(), bridge.Item{ID: bridge.NewID([]byte("a")), Subject: bridge.AlertSubject("t", "d"), Body: []byte("alert")}); err != nil {
		t.Fatal(err)
	}
	select {
	case it := <-taken:
		if string(it.Body) != "alert" {
			t.Errorf("taken: %q", it.Body)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing was taken")
	}
	if err := b.Dead(t.Context(), bridge.DeadLetter{ID: bridge.NewID([]byte("d")), Stage: "input", Reason: "r", Subject: bridge.LogSubject("t", "d"), Body: []byte("x")}); err != nil {
		t.Error(err)
	}
	found := 0
	if err := b.DeadLetters(t.Context(), bridge.DeadFilter{}, func(bridge.DeadLetter) bool { found++; return true }); err != nil || found != 1 {
		t.Errorf("dead letters: %d, %v", found, err)
	}
	cancel()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestServerFilesRefused(t *testing.T) {
	good := bridge.ServerFiles{Servers: []string{"a", "b", "c"}, Store: "/data", Sync: "2m"}
	for want, change := range map[string]func(*bridge.ServerFiles){
		"2 servers":         func(f *bridge.ServerFiles) { f.Servers = f.Servers[:2] },
		`"a\nb" is no host`: func(f *bridge.ServerFiles) { f.Servers = []string{"a\nb"} },
		`"../x" is no host`: func(f *bridge.ServerFiles) { f.Servers = []string{"../x"} },
		`"a" is named twice`: func(f *bridge.ServerFiles) {
			f.Servers = []string{"a", "b", "a"}
		},
		`"data" is not an absolute path`: func(f *bridge.ServerFiles) { f.Store = "data" },
		`sync "now"`:                     func(f *bridge.ServerFiles) { f.Sync = "now" },
	} {
		f := good
		change(&f)
		if err := bridge.WriteServerFiles(t.TempDir(), f); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	dir := t.TempDir()
	if err := bridge.WriteServerFiles(dir, good); err != nil {
		t.Fatal(err)
	}
	for _, host := range good.Servers {
		opts, err := server.ProcessConfigFile(filepath.Join(dir, host+".conf"))
		if err != nil || len(opts.Routes) != 3 || opts.ServerName != host || opts.Cluster.Name == "" {
			t.Errorf("%s: %v", host, err)
		}
	}
}
