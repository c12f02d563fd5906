package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// guardWait: a guard that is not ready by then waits for another.
	guardWait = 2 * time.Second
	// guardPause is before a guard that was killed is started again.
	guardPause = 100 * time.Millisecond
)

// guard is the node's end of the process that outlives it: see RunGuard. It
// starts that process again if somebody kills it.
type guard struct {
	argv []string
	lock string
	log  hclog.Logger

	mu     sync.Mutex
	stdin  *os.File      // nil while no process runs
	groups map[int]int64 // with the monotonic time at which each is killed, or 0
	ended  chan struct{} // closed when the present process has ended
}

func newGuard(argv []string, lock string, log hclog.Logger) *guard {
	return &guard{argv: argv, lock: lock, log: log, groups: make(map[int]int64)}
}

// start runs the process and returns when it has the lock: no plugin of an
// earlier node is left.
func (g *guard) start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(g.lock), 0o750); err != nil {
		return fmt.Errorf("make the folder of the guard's lock: %w", err)
	}
	cmd := exec.Command(g.argv[0], append(g.argv[1:len(g.argv):len(g.argv)], g.lock)...)
	cmd.Env = []string{}
	// A group of its own: Ctrl-C on a terminal is not for the guard.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var ends [3][2]*os.File // read and write
	for i := range ends {
		r, w, err := os.Pipe()
		if err != nil {
			closePipes(ends[:i])
			return fmt.Errorf("guard: %w", err)
		}
		ends[i] = [2]*os.File{r, w}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = ends[0][0], ends[1][1], ends[2][1]
	stdin, stdout, stderr := ends[0][1], ends[1][0], ends[2][0]
	if err := cmd.Start(); err != nil {
		closePipes(ends[:])
		return fmt.Errorf("start the guard: %w", err)
	}
	for _, f := range []*os.File{ends[0][0], ends[1][1], ends[2][1]} {
		f.Close()
	}
	ended := make(chan struct{})
	complaints := make(chan string, 1)
	go func() {
		defer stderr.Close()
		text, _ := io.ReadAll(io.LimitReader(stderr, maxErrorText))
		complaints <- string(text)
	}()
	ready := make(chan bool, 1)
	go func() {
		defer stdout.Close()
		line, _ := bufio.NewReader(io.LimitReader(stdout, 64)).ReadString('\n')
		ready <- line == guardReady
		text := <-complaints
		// How it ended is in what it said.
		_ = cmd.Wait()
		if text != "" {
			g.log.Error("guard of the plugins", "error", printable(text))
		}
		close(ended)
	}()
	// Before it is ready: a guard that holds the lock has all groups before it.
	g.mu.Lock()
	g.stdin, g.ended = stdin, ended
	for pgid, until := range g.groups {
		g.tellLocked('+', pgid, until)
	}
	g.mu.Unlock()
	if err := g.await(ctx, ready, ended); err != nil {
		g.mu.Lock()
		g.stdin = nil
		g.mu.Unlock()
		stdin.Close()
		_ = cmd.Process.Kill()
		<-ended
		return err
	}
	return nil
}

func closePipes(ends [][2]*os.File) {
	for _, e := range ends {
		e[0].Close()
		e[1].Close()
	}
}

func (g *guard) await(ctx context.Context, ready <-chan bool, ended <-chan struct{}) error {
	timer := time.NewTimer(guardWait)
	defer timer.Stop()
	for {
		select {
		case ok := <-ready:
			if !ok {
				<-ended
				return fmt.Errorf("the guard %q ended at once", g.argv)
			}
			return nil
		case <-timer.C:
			g.log.Warn("waiting for the plugins of another node in this work dir to end", "lock", g.lock)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serve keeps a guard running until ctx ends; then it lets it go. By then every
// group must have been removed.
func (g *guard) serve(ctx context.Context) {
	for {
		g.mu.Lock()
		ended := g.ended
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			g.mu.Lock()
			g.stdin.Close()
			g.stdin = nil
			g.mu.Unlock()
			<-ended
			return
		case <-ended:
		}
		g.mu.Lock()
		g.stdin.Close()
		g.stdin = nil
		g.mu.Unlock()
		g.log.Warn("the guard of the plugins was killed, starting it again")
		for {
			err := g.start(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			g.log.Error("cannot start the guard of the plugins again", "error", err)
			timer := time.NewTimer(guardPause)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
}

// add tells the guard of a process group that must not outlive the node.
func (g *guard) add(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups[pgid] = 0
	g.tellLocked('+', pgid, 0)
}

// bound says until when a group may run: the guard kills it then, also where the
// node is stopped.
func (g *guard) bound(pgid int, until time.Time) {
	// In this order: a pause between the two makes it earlier, not later.
	now := monotonic()
	at := max(1, now+int64(time.Until(until)))
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.groups[pgid]; ok {
		g.groups[pgid] = at
		g.tellLocked('+', pgid, at)
	}
}

// remove takes it back, before its id can become another's.
func (g *guard) remove(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, pgid)
	g.tellLocked('-', pgid, 0)
}

// tellLocked does not care for an error: a guard that has ended is started again
// and told everything.
func (g *guard) tellLocked(sign byte, pgid int, until int64) {
	if g.stdin == nil {
		return
	}
	_ = g.stdin.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(g.stdin, "%c%d %d\n", sign, pgid, until); err != nil && !errors.Is(err, os.ErrClosed) {
		g.log.Debug("tell the guard of the plugins", "error", err)
	}
}
