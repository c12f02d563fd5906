package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/plugins"
)

// roleEnv tells a test binary that it was started again to be a plugin.
const roleEnv = "EPMESH_PLUGINTEST"

type role struct {
	Dir    string // of sockets; WORK_DIR/sockets if empty
	Kind   plugin.Kind
	Name   string
	Script Script
}

// Main is called first in TestMain of a package that starts plugins as
// processes. In such a process it does not return.
func Main() {
	text := os.Getenv(roleEnv)
	if text == "" {
		return
	}
	if err := run(text); err != nil {
		fmt.Fprintln(os.Stderr, "plugintest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	if r.Dir == "" {
		r.Dir = filepath.Join(os.Getenv("WORK_DIR"), "sockets")
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stop := make(chan struct{})
	h := &handler{
		name:   r.Name,
		script: func() Script { return r.Script },
		seen:   func(proto.Message) {},
		die: func() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		},
		stop: stop,
	}
	if r.Script.Kit {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-signals
			close(stop)
			cancel()
		}()
		return plugins.Serve(ctx, kitOptions(r.Dir, r.Kind, h))
	}
	server, err := newServer(r.Kind, h)
	if err != nil {
		return err
	}
	l, err := listen(r.Dir, r.Kind, r.Name)
	if err != nil {
		return err
	}
	go func() {
		<-signals
		close(stop)
		server.GracefulStop()
	}()
	return server.Serve(l)
}

// Spec makes the plugin a process that plugin.Processes can start. Its socket is
// in WORK_DIR/sockets.
func Spec(kind plugin.Kind, name string, script Script) plugin.Spec {
	return plugin.Spec{Name: name, Argv: []string{self()}, Env: []string{env(role{Kind: kind, Name: name, Script: script})}}
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

func env(r role) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return roleEnv + "=" + string(text)
}

// Process is a plugin in a process of its own.
type Process struct {
	tb  testing.TB
	cmd *exec.Cmd
}

// Spawn starts a plugin whose socket is in dir. It ends with the test, if not
// before. The socket is not there yet when Spawn returns.
func Spawn(tb testing.TB, dir string, kind plugin.Kind, name string, script Script) *Process {
	tb.Helper()
	p := &Process{tb: tb, cmd: exec.Command(self())}
	p.cmd.Env = append(os.Environ(), env(role{Dir: dir, Kind: kind, Name: name, Script: script}))
	p.cmd.Stdout, p.cmd.Stderr = os.Stderr, os.Stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("plugintest: %v", err)
	}
	tb.Cleanup(p.Kill)
	return p
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("plugintest: %v", err)
	}
	// How it ended is the test's own doing.
	_ = p.cmd.Wait()
}
