package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/engine"
	pb "github.com/epmesh/epmesh/proto"
)

func TestSocketModes(t *testing.T) {
	d := shortdir.New(t)
	if err := os.Mkdir(filepath.Join(d, "sockets"), 0o777); err != nil {
		t.Fatal(err)
	}
	srv, stop := start(t, engine.Options{Dir: d, Publisher: &store{}, Dead: &store{}})
	for path, want := range map[string]fs.FileMode{
		srv.Path():               fs.ModeSocket | 0o660,
		filepath.Dir(srv.Path()): fs.ModeDir | 0o750,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	// The lock stays: taking it away would let two nodes hold it at once.
	if left, _ := filepath.Glob(filepath.Join(d, "sockets", "*")); len(left) != 1 || filepath.Base(left[0]) != ".engine.lock" {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	d := shortdir.New(t)
	sockets := filepath.Join(d, "sockets")
	if err := os.MkdirAll(filepath.Join(sockets, ".e-123"), 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(sockets, "engine_server.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	srv, _ := start(t, engine.Options{Dir: d, Publisher: &store{}, Dead: &store{}})
	in := input(t, srv)
	if err := in.Send(&pb.Log{Id: "a", Raw: "r"}); err != nil {
		t.Fatal(err)
	}
	if ack, err := in.Recv(); err != nil || ack.LastId != "a" {
		t.Errorf("%v, %v", ack, err)
	}
	if left, _ := filepath.Glob(filepath.Join(sockets, ".e-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSocketsThatCannotBeOpened(t *testing.T) {
	long := filepath.Join(shortdir.New(t), strings.Repeat("d", 100))
	running := shortdir.New(t)
	start(t, engine.Options{Dir: running, Publisher: &store{}, Dead: &store{}})

	// Another engine that knows nothing of our lock.
	foreign := shortdir.New(t)
	os.Mkdir(filepath.Join(foreign, "sockets"), 0o750)
	l, err := net.Listen("unix", filepath.Join(foreign, "sockets", "engine_server.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	file := shortdir.New(t)
	os.Mkdir(filepath.Join(file, "sockets"), 0o750)
	os.WriteFile(filepath.Join(file, "sockets", "engine_server.sock"), nil, 0o600)

	tests := []struct{ name, dir, want string }{
		{"path too long", long, "choose a shorter work dir"},
		{"another node", running, fmt.Sprintf("is served by another process (pid %d)", os.Getpid())},
		{"another engine", foreign, "stop that one, or give this one a work dir of its own (--work-dir, WORK_DIR)"},
		{"a file", file, "is no socket: move it away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := engine.New(engine.Options{Dir: tt.dir, Publisher: &store{}, Dead: &store{}})
			err := srv.Serve(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Serve: %v, want %q", err, tt.want)
			}
			if srv.Check() == nil {
				t.Error("it says it serves")
			}
		})
	}
	conn, err := net.Dial("unix", filepath.Join(running, "sockets", "engine_server.sock"))
	if err != nil {
		t.Fatalf("the node that ran is hurt: %v", err)
	}
	conn.Close()
}

func TestServeAgain(t *testing.T) {
	srv := engine.New(engine.Options{Dir: shortdir.New(t), Publisher: &store{}, Dead: &store{}})
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx) }()
		eventually(t, "it serves", func() bool { return srv.Check() == nil })
		in := input(t, srv)
		if err := in.Send(&pb.Log{Id: "a", Raw: "r"}); err != nil {
			t.Fatal(err)
		}
		if ack, err := in.Recv(); err != nil || ack.LastId != "a" {
			t.Errorf("%v, %v", ack, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStopLeavesTheSocketOfAnother(t *testing.T) {
	srv, stop := start(t, engine.Options{Publisher: &store{}, Dead: &store{}})
	if err := os.Remove(srv.Path()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", srv.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(srv.Path()); err != nil {
		t.Errorf("another's socket was removed: %v", err)
	}
}

func TestStopWaitsForNoSilentPeer(t *testing.T) {
	srv, stop := start(t, engine.Options{Publisher: &store{}, Dead: &store{}, Drain: 10 * time.Millisecond})
	conn, err := net.Dial("unix", srv.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The server speaks first; from then on it waits for the peer.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("it took %v", d)
	}
	if _, err := net.Dial("unix", srv.Path()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("dial after the stop: %v", err)
	}
}
