package plugin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// crashLoop is how many failures in a row make a crash loop.
	crashLoop = 3
	// healthyAfter: a plugin that has run this long was no failure to start.
	healthyAfter = 10 * time.Second
	// groupWait is for the rest of a process group to end after SIGKILL, and
	// for its output to be read.
	groupWait = time.Second
)

// process is one plugin's loop: run it, and run it again.
type process struct {
	set    *Processes
	spec   Spec
	log    hclog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	state    ProcessState
	since    time.Time // of the state
	started  time.Time
	pid      int
	failures int // in a row
	restarts uint64
	lastExit string
	output   *output // of the present run, or the last one
}

// launch starts the loop of a plugin, after that of the one it replaces.
func (ps *Processes) launch(spec Spec, before *process) *process {
	p := &process{
		set: ps, spec: spec, log: ps.log.With("plugin", spec.Name),
		done: make(chan struct{}), state: Starting, since: time.Now(),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	ps.changes.notify()
	go func() {
		defer ps.poke()
		defer close(p.done)
		if before != nil {
			// Even if this one is itself replaced meanwhile: whoever waits for
			// it also waits for those before it.
			<-before.done
		}
		p.loop()
	}()
	return p
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) loop() {
	defer p.cancel()
	for p.ctx.Err() == nil {
		tenure := p.tenure()
		if tenure == nil {
			return
		}
		start := time.Now()
		code, exit := p.run(tenure)
		ended := tenure.Ending.Err() != nil
		tenure.Release()
		if p.ctx.Err() != nil {
			p.log.Info("plugin stopped", "exit", exit)
			p.set.changes.notify()
			return
		}
		if ended {
			p.log.Warn("plugin stopped: this node may lose its lease", "exit", exit)
			p.ended(Standby, exit)
			continue
		}
		lived := time.Since(start)
		if code == 0 && (p.spec.Once || lived < p.set.opts.IdleWithin) {
			state, message := Idle, "plugin ended at once with exit code 0: it is not for this node"
			if p.spec.Once {
				state, message = Done, "plugin has done its work"
			}
			p.log.Info(message)
			p.ended(state, exit)
			<-p.ctx.Done()
			return
		}
		delay := p.failed(exit, lived)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
		}
		timer.Stop()
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
	}
}

// failed notes an end that was not wanted and says how long to pause.
func (p *process) failed(exit string, lived time.Duration) time.Duration {
	o := &p.set.opts
	p.mu.Lock()
	if lived >= healthyAfter {
		p.failures = 0
	}
	p.failures++
	n := p.failures
	p.mu.Unlock()
	delay := o.RestartMax
	if n < 32 && o.RestartMin<<(n-1) > 0 {
		delay = min(o.RestartMax, o.RestartMin<<(n-1))
	}
	// Plugins that failed together for one reason do not come back together.
	delay -= time.Duration(rand.Int64N(int64(delay)/4 + 1))
	state := BackingOff
	switch {
	case n >= crashLoop:
		state = CrashLooping
		p.log.Error("plugin keeps ending", "exit", exit, "failures", n, "again_in", delay.Round(time.Millisecond))
	default:
		p.log.Warn("plugin ended, starting it again", "exit", exit, "again_in", delay.Round(time.Millisecond))
	}
	p.ended(state, exit)
	return delay
}

func (p *process) ended(state ProcessState, exit string) {
	p.mu.Lock()
	p.state, p.since, p.pid, p.lastExit = state, time.Now(), 0, exit
	p.mu.Unlock()
	p.set.changes.notify()
}

// run starts the plugin once and returns when it, and all of its group, have
// ended. code is -1 if it could not be started or a signal ended it.
func (p *process) run(tenure *Tenure) (code int, exit string) {
	cmd := exec.Command(p.spec.Argv[0], p.spec.Argv[1:]...)
	cmd.Env = p.set.opts.environ(p.spec, tenure.Env...)
	if cmd.Dir = p.spec.Dir; cmd.Dir == "" {
		cmd.Dir = p.set.opts.WorkDir
	}
	cmd.SysProcAttr = processAttr()
	out, err := newOutput(p.log, p.set.changes.notify)
	if err != nil {
		return -1, fmt.Sprintf("open pipes: %v", err)
	}
	defer out.close(groupWait)
	cmd.Stdout, cmd.Stderr = out.stdout, out.stderr
	err = p.set.starter.start(cmd)
	out.started()
	if err != nil {
		return -1, fmt.Sprintf("cannot be started: %v", err)
	}
	pid := cmd.Process.Pid
	if p.set.guard != nil {
		p.set.guard.add(pid)
	}
	defer tenure.watch(p.set.guard, pid)()
	p.begun(pid, out)

	exited := make(chan struct{})
	go func() {
		defer close(exited)
		waitExit(pid)
	}()
	select {
	case <-exited:
	case <-p.ctx.Done():
		p.terminate(pid, exited, p.set.opts.Grace)
	case <-tenure.Ending.Done():
		p.terminate(pid, exited, min(p.set.opts.Grace, time.Until(tenure.Until())))
	}
	// The leader is not reaped yet, so its group's id is still its own.
	killGroup(pid, syscall.SIGKILL)
	<-exited
	if p.set.guard != nil {
		p.set.guard.remove(pid)
	}
	// That it ended with an error is in its state.
	_ = cmd.Wait()
	awaitGroup(pid, time.Now().Add(groupWait))
	return cmd.ProcessState.ExitCode(), describeExit(cmd.ProcessState)
}

func (p *process) begun(pid int, out *output) {
	p.mu.Lock()
	if p.output != nil {
		out.follow(p.output)
	}
	p.state, p.since, p.started, p.pid, p.output = Running, time.Now(), time.Now(), pid, out
	p.mu.Unlock()
	p.log.Info("plugin started", "pid", pid)
	p.set.changes.notify()
}

// terminate asks the group to end and gives it the grace.
func (p *process) terminate(pid int, exited <-chan struct{}, grace time.Duration) {
	p.mu.Lock()
	p.state, p.since = Stopping, time.Now()
	p.mu.Unlock()
	p.set.changes.notify()
	deadline := time.Now().Add(grace)
	killGroup(pid, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-exited:
		// A wrapper may end before the server that it started has drained.
		if awaitGroup(pid, deadline) {
			return
		}
	case <-timer.C:
	}
	p.log.Warn("plugin did not stop in time, killing it", "grace", grace)
}

func describeExit(s *os.ProcessState) string {
	if s == nil {
		return "unknown"
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return fmt.Sprintf("killed by signal %d (%v)", int(w.Signal()), w.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitCode())
}
