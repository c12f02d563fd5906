package conform

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/epmesh/epmesh/node/plugin"
)

// life checks what becomes of the process: killed, started again, stopped with
// work in hand, stopped without.
func (c *checker) life(served []string) {
	c.kind = ""
	if len(served) == 0 || c.opts.wants("restart") && !c.restart() || !c.opts.wants("stop") {
		return
	}
	c.stopBusy(plugin.Kind(served[0]))
	if c.ctx.Err() != nil || !c.again("after a stop") {
		return
	}
	c.stop("without work in hand")
}

// restart kills the plugin, which leaves its socket behind, and starts it again.
func (c *checker) restart() bool {
	c.run.look()
	c.run.trial.Signal(syscall.SIGKILL)
	c.run.awaitExit(c.opts.Start)
	c.run.end()
	c.orphaned("SIGKILL")
	left := c.leftSockets()
	r, err := c.launch()
	if err != nil {
		c.tell("restart", Fail, "", "after SIGKILL it cannot be started: %v", err)
		return false
	}
	c.run = r
	what, took, ok := c.awaitServing(c.opts.Start)
	if !ok {
		exit := ""
		if r.hasExited() {
			exit = ": " + r.end().Text
		}
		c.tell("restart", Fail, "remove a socket that nobody serves before you bind its path",
			"after SIGKILL, which left %s, it does not serve again within %s%s%s", strings.Join(left, ", "), c.opts.Start, exit, c.lines.lastWords())
		return false
	}
	replaced := "with a stale socket in its place"
	if len(left) == 0 {
		replaced = "with no socket left behind"
	}
	c.tell("restart", OK, "", "after SIGKILL, %s: %s after %s", replaced, what, ms(took))
	return true
}

// again starts the plugin once more.
func (c *checker) again(when string) bool {
	r, err := c.launch()
	if err == nil {
		c.run = r
		if _, _, ok := c.awaitServing(c.opts.Start); ok {
			return true
		}
		err = fmt.Errorf("not within %s%s", c.opts.Start, c.lines.lastWords())
	}
	c.tell("restart", Fail, "a plugin may be stopped and started at any time", "it does not serve again %s: %v", when, err)
	return false
}

// leftSockets are the plugin's sockets that are there and not served.
func (c *checker) leftSockets() []string {
	var list []string
	for _, f := range c.sockets() {
		if _, name, ok := plugin.ParseSocketName(f); ok && name == c.name {
			list = append(list, f)
		}
	}
	return list
}

// stopBusy stops the plugin while it is called.
func (c *checker) stopBusy(kind plugin.Kind) {
	conn, err := dial(c.ctx, c.socket(kind), c.opts.Call)
	if err != nil {
		c.tell("stop", Skip, "", "it cannot be called after the restart: %v", err)
		return
	}
	defer conn.close()
	it, err := c.newItems(kind)
	if err != nil {
		return
	}
	var (
		callers                   sync.WaitGroup
		answered, refused, failed atomic.Int64
		hung                      atomic.Int64
		text                      atomic.Pointer[string]
		stop                      = make(chan struct{})
		busy                      = make(chan struct{}, atOnce)
	)
	for i := range atOnce {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := conn.call(c.ctx, kind, it.usual(fmt.Sprintf("conform-stop-%d-%d", i, n)))
				if n == 0 {
					busy <- struct{}{}
				}
				switch code := status.Code(err); {
				case err == nil:
					answered.Add(1)
				case code == codes.Unavailable || code == codes.Canceled:
					refused.Add(1)
					return
				case code == codes.DeadlineExceeded:
					hung.Add(1)
					return
				default:
					failed.Add(1)
					s := words(err)
					text.Store(&s)
				}
			}
		})
	}
	for range atOnce {
		select {
		case <-busy:
		case <-time.After(c.opts.Call):
		}
	}
	c.stop(fmt.Sprintf("with %d calls at once", atOnce))
	close(stop)
	callers.Wait()
	switch {
	case hung.Load() > 0:
		c.tell("drain", Fail, "on SIGTERM finish the calls in hand, or end them with UNAVAILABLE", "%d calls got no answer when it stopped", hung.Load())
	default:
		also := ""
		if t := text.Load(); t != nil {
			also = fmt.Sprintf(", %d answered with an error such as %s", failed.Load(), *t)
		}
		c.tell("drain", OK, "", "%d calls answered until it stopped, %d ended with UNAVAILABLE%s: no caller was left waiting", answered.Load(), refused.Load(), also)
	}
}

// stop sends SIGTERM and judges how the plugin ends.
func (c *checker) stop(when string) {
	r := c.run
	r.look()
	began := time.Now()
	r.trial.Signal(syscall.SIGTERM)
	inTime := r.awaitExit(c.opts.Grace)
	took := time.Since(began)
	exit := r.end()
	cure := "handle SIGTERM: take no new calls, finish those in hand, remove the socket, exit with 0"
	switch {
	case !inTime:
		c.tell("stop", Fail, cure+", all within plugins.stop_grace (2s)", "SIGTERM %s: still there after %s, so a node kills it", when, c.opts.Grace)
	case exit.Signal == syscall.SIGTERM:
		c.tell("stop", Warn, cure, "SIGTERM %s: ended by the signal after %s, unhandled", when, ms(took))
	case exit.Code != 0:
		c.tell("stop", Warn, cure, "SIGTERM %s: %s after %s%s", when, exit.Text, ms(took), c.lines.lastWords())
	default:
		c.tell("stop", OK, "", "SIGTERM %s: exit code 0 after %s", when, ms(took))
	}
	if inTime {
		if left := c.leftSockets(); len(left) > 0 {
			c.tell("socket", Fail, "remove your socket when you end", "left behind after SIGTERM: %s", filepath.Join("sockets", strings.Join(left, ", ")))
		}
	}
	c.orphaned("SIGTERM")
}

// orphaned tells of processes that outlived the plugin.
func (c *checker) orphaned(signal string) {
	r := c.run
	switch {
	case len(r.orphans) > 0:
		c.tell("children", Fail, "leave processes in your own process group (no setsid, no daemon), and end them when you end",
			"%d processes that it started outlived %s and were out of a node's reach", len(r.orphans), signal)
	case r.exit.Left && signal == "SIGTERM":
		c.tell("children", Warn, "wait for the processes that you start before you end", "it ended before a process that it had started; a node kills what is left")
	case len(r.kin) > 0:
		c.tell("children", OK, "", "%d processes that it started have ended with it at %s", len(r.kin), signal)
	}
}
