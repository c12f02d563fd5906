package plugin

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
)

// starter starts every plugin from one OS thread. The signal that a plugin gets
// when its parent dies is in truth sent when the *thread* that started it does,
// and Go ends threads as it likes; this one is locked for as long as there are
// plugins.
type starter struct {
	requests chan startRequest
	ended    chan struct{}
}

type startRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newStarter() starter {
	return starter{requests: make(chan startRequest), ended: make(chan struct{})}
}

func (s starter) serve(ctx context.Context) {
	defer close(s.ended)
	// Not unlocked: the thread ends with the goroutine, when no plugin is left.
	runtime.LockOSThread()
	for {
		select {
		case r := <-s.requests:
			r.result <- r.cmd.Start()
		case <-ctx.Done():
			return
		}
	}
}

func (s starter) start(cmd *exec.Cmd) error {
	r := startRequest{cmd: cmd, result: make(chan error, 1)}
	select {
	case s.requests <- r:
		return <-r.result
	case <-s.ended:
		return errors.New("no more plugins are started")
	}
}
