package plugin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// Line is one line of a plugin's output as the node understands it.
type Line struct {
	Stderr  bool
	JSON    bool // it has a level and a message of its own
	Level   hclog.Level
	Message string
	Cut     int  // bytes left out because the line is too long
	Left    bool // it came too fast: the node would only have counted it
}

// Exit is how a run ended.
type Exit struct {
	Code   int            // -1 if a signal ended it
	Signal syscall.Signal // 0 if none did
	Text   string         // the same in words
	// Left: when the plugin itself had ended, others of its process group had
	// not.
	Left bool
}

// Trial is one run of a plugin, started as Processes would start it (same
// environment, folder and process group), whose life the caller decides: for
// those who want to know how a plugin behaves. Like the node's own plugins it
// does not outlive this process, on Linux. Call End.
type Trial struct {
	cmd    *exec.Cmd
	pid    int
	exited chan struct{}
	stop   context.CancelFunc
	starts sync.WaitGroup // the starter
	reads  sync.WaitGroup
	pipes  [2]*os.File
	limit  *rate.Limiter
	line   func(Line)
}

// StartTrial starts the plugin. line gets what it writes, by two goroutines; it
// must not block.
func StartTrial(o ProcessOptions, s Spec, line func(Line)) (*Trial, error) {
	o.setDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = o.environ(s)
	if cmd.Dir = s.Dir; cmd.Dir == "" {
		cmd.Dir = o.WorkDir
	}
	cmd.SysProcAttr = processAttr()
	t := &Trial{cmd: cmd, exited: make(chan struct{}), limit: rate.NewLimiter(lineRate, lineBurst), line: line}
	var ends [2]*os.File
	for i := range t.pipes {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(t.pipes[:i], ends[:i])
			return nil, fmt.Errorf("open pipes: %w", err)
		}
		t.pipes[i], ends[i] = r, w
	}
	cmd.Stdout, cmd.Stderr = ends[0], ends[1]

	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	starter := newStarter()
	t.starts.Go(func() { starter.serve(ctx) })
	err := starter.start(cmd)
	closeAll(ends[:])
	if err != nil {
		stop()
		t.starts.Wait()
		closeAll(t.pipes[:])
		return nil, fmt.Errorf("start plugin: %w", err)
	}
	t.pid = cmd.Process.Pid
	for i, r := range t.pipes {
		t.reads.Go(func() { t.read(r, i == 1) })
	}
	go func() {
		defer close(t.exited)
		waitExit(t.pid)
	}()
	return t, nil
}

func closeAll(lists ...[]*os.File) {
	for _, list := range lists {
		for _, f := range list {
			f.Close()
		}
	}
}

// PID is that of the plugin and of its process group.
func (t *Trial) PID() int { return t.pid }

// Exited is closed once the plugin itself has ended.
func (t *Trial) Exited() <-chan struct{} { return t.exited }

// Signal sends a signal to the whole process group, as the node does.
func (t *Trial) Signal(sig syscall.Signal) { killGroup(t.pid, sig) }

// End kills what still runs of the process group and returns how the plugin
// itself ended. It is called once.
func (t *Trial) End() Exit {
	var left bool
	select {
	case <-t.exited:
		// It may be a moment until what the plugin waited for is gone.
		left = !awaitGroup(t.pid, time.Now().Add(groupWait/5))
	default:
	}
	killGroup(t.pid, syscall.SIGKILL)
	<-t.exited
	// How it ended is in its state.
	_ = t.cmd.Wait()
	awaitGroup(t.pid, time.Now().Add(groupWait))
	t.stop()
	t.starts.Wait()
	timer := time.AfterFunc(groupWait, func() { closeAll(t.pipes[:]) })
	t.reads.Wait()
	timer.Stop()
	closeAll(t.pipes[:])
	state := t.cmd.ProcessState
	e := Exit{Code: state.ExitCode(), Text: describeExit(state), Left: left}
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		e.Signal = w.Signal()
	}
	return e
}

// read hands on the lines of one pipe until its end.
func (t *Trial) read(r io.Reader, isErr bool) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		raw, err := lines.ReadSlice('\n')
		cut := 0
		if errors.Is(err, bufio.ErrBufferFull) {
			raw = bytes.Clone(raw)
			cut, err = skipLine(lines)
		}
		if raw = bytes.TrimRight(raw, "\r\n"); len(bytes.TrimSpace(raw)) > 0 {
			l, isJSON := parseJSON(raw)
			if !isJSON {
				l = parseLine(raw, isErr)
			}
			t.line(Line{Stderr: isErr, JSON: isJSON, Level: l.level, Message: l.message, Cut: cut, Left: !t.limit.Allow()})
		}
		if err != nil {
			return
		}
	}
}
