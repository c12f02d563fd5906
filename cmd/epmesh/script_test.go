package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for something before it gives up.
const patience = 40 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// The script's own folder may be too long for sockets.
			dir, err := os.MkdirTemp("", "epm")
			if err != nil {
				return err
			}
			env.Setenv("W", dir)
			env.Setenv("ANY", "127.0.0.1:0")
			env.Values[groupKey{}] = &group{byName: map[string]*process{}}
			env.Defer(func() {
				env.Values[groupKey{}].(*group).kill()
				os.RemoveAll(dir)
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":     start,
			"await":     await,
			"addresses": addresses,
			"end":       end,
			"exits":     exits,
			"feeding":   feeding,
			"until":     until,
			"send":      send,
		},
		RequireExplicitExec: true,
	})
}

type groupKey struct{}

// group are the epmesh processes of one script.
type group struct{ byName map[string]*process }

func (g *group) kill() {
	for _, p := range g.byName {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// process is one of them, and what it has written.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
	err            error // once ended
}

// output is what a process writes. It can be waited for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func named(ts *testscript.TestScript, name string) *process {
	p := ts.Value(groupKey{}).(*group).byName[name]
	if p == nil {
		ts.Fatalf("no process %s was started", name)
	}
	return p
}

// start NAME ARGS...: run epmesh in the background.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME ARGS...")
	}
	self, err := exec.LookPath("epmesh")
	ts.Check(err)
	p := &process{cmd: exec.Command(self, args[1:]...), stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "EPMESH_INPUT_MAX_LOG", "LOG_LEVEL"} {
		if v := ts.Getenv(name); v != "" {
			p.cmd.Env = append(p.cmd.Env, name+"="+v)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	ts.Check(p.cmd.Start())
	ts.Value(groupKey{}).(*group).byName[args[0]] = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
}

// await NAME stdout|stderr REGEXP: wait until it has written that.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: await NAME stdout|stderr REGEXP")
	}
	p := named(ts, args[0])
	out := map[string]*output{"stdout": p.stdout, "stderr": p.stderr}[args[1]]
	want, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	late := time.After(patience)
	for {
		text, changed := out.now()
		if want.MatchString(text) {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			if text, _ := out.now(); !want.MatchString(text) {
				ts.Fatalf("%s ended (%v) without %q:\n%s", args[0], p.err, args[2], p.all())
			}
		case <-late:
			ts.Fatalf("%s has not written %q:\n%s", args[0], args[2], p.all())
		}
	}
}

func (p *process) all() string {
	out, _ := p.stdout.now()
	err, _ := p.stderr.now()
	return "stdout:\n" + out + "stderr:\n" + err
}

// addresses NAME: wait for the line of up --json, and keep what it says as
// SYSLOG, HTTP, NATS and ENGINE.
func addresses(ts *testscript.TestScript, neg bool, args []string) {
	await(ts, neg, []string{args[0], "stdout", `^\{.*\}$`})
	text, _ := named(ts, args[0]).stdout.now()
	line, _, _ := strings.Cut(text, "\n")
	at := map[string]string{}
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		ts.Fatalf("%v in %q", err, line)
	}
	for _, name := range []string{"syslog", "http", "nats", "engine"} {
		ts.Setenv(strings.ToUpper(name), at[name])
	}
}

// end NAME [SIGNAL...]: send SIGTERM, or these signals, and wait at most five
// seconds; it must end with 0. With !, with another code.
func end(ts *testscript.TestScript, neg bool, args []string) {
	p := named(ts, args[0])
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	names := args[1:]
	if len(names) == 0 {
		names = []string{"TERM"}
	}
	for _, name := range names {
		ts.Check(p.cmd.Process.Signal(signals[name]))
	}
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		ts.Fatalf("%s has not ended within 5s:\n%s", args[0], p.all())
	}
	if (p.err != nil) != neg {
		ts.Fatalf("%s ended with %v:\n%s", args[0], p.err, p.all())
	}
}

// exits CODE ARGS...: run epmesh, which must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	code := 0
	if err := ts.Exec("epmesh", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// feeding ADDR SIZE ARGS...: run epmesh, which must succeed, and send syslog
// lines of at least that many bytes over TCP all the while.
func feeding(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	defer conn.Close()
	done := make(chan struct{})
	var feeder sync.WaitGroup
	feeder.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for i := 1; ; i++ {
			if _, err := fmt.Fprintf(conn, "<13>1 2026-01-01T00:00:00Z web-1 app - - - line %d%s\n", i, strings.Repeat("x", size)); err != nil {
				return
			}
			select {
			case <-done:
				return
			case <-pace.C:
			}
		}
	})
	err = ts.Exec("epmesh", args[2:]...)
	close(done)
	feeder.Wait()
	ts.Check(err)
}

// until REGEXP ARGS...: run epmesh again and again until it writes that.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	self, err := exec.LookPath("epmesh")
	ts.Check(err)
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	late := time.After(patience)
	for {
		text, err := exec.Command(self, args[1:]...).CombinedOutput()
		if err == nil && want.Match(text) {
			return
		}
		select {
		case <-pace.C:
		case <-late:
			ts.Fatalf("never %q, last (%v):\n%s", args[0], err, text)
		}
	}
}

// send ADDR SIZE: send one syslog line of that many bytes over TCP.
func send(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	defer conn.Close()
	_, err = io.WriteString(conn, "<13>1 2026-01-01T00:00:00Z web-1 app - - - "+strings.Repeat("x", size)+"\n")
	ts.Check(err)
}
