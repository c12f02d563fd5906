package conform

import (
	"fmt"
	"syscall"
	"time"
)

// How long is waited; less in tests.
var (
	// quiet is how long nothing may come for a sender to count as waiting.
	quiet = 1500 * time.Millisecond
	// stallFor is how long Acks are held at most.
	stallFor = 12 * time.Second
	// regain is how long an input plugin may take until it sends again.
	regain = 15 * time.Second
)

// grown is how much memory a plugin may take more while the node takes nothing.
const grown = 128 << 20

// checkInput checks a plugin that sends logs: in quiet, with Acks that do not
// come, with a node that goes away and one that is not there yet.
func (c *checker) checkInput() {
	e := c.engine
	if !e.await(c.opts.Wait, c.run.trial.Exited(), func() bool { return e.logs > 0 }) {
		if c.run.hasExited() {
			c.tell("logs", Fail, "see what it writes with --verbose; does it need settings (--config)?", "it ended before its first log: %s%s", c.run.end().Text, c.lines.lastWords())
			return
		}
		c.tell("logs", Warn, "make it produce logs: settings with --config, a command that feeds it with --feed, more time with --wait",
			"connected, and no log within %s: stalls and restarts cannot be checked", c.opts.Wait)
		c.inputLife(false)
		return
	}
	from, _, _, _ := e.counts()
	began := time.Now()
	e.await(time.Second, c.run.trial.Exited(), func() bool { return e.logs > from+5000 })
	to, _, _, _ := e.counts()
	rate := float64(to-from) / time.Since(began).Seconds()
	c.checkLogs()
	if c.opts.wants("stall") && !c.stall(rate) || c.opts.wants("node-restart") && !c.nodeRestart() {
		return
	}
	c.checkSequence("stall and restart of the node")
	c.inputLife(true)
}

// stall holds the Acks back. rate is how many logs a second came before.
func (c *checker) stall(rate float64) bool {
	e := c.engine
	before := memory(c.run.trial.PID())
	e.hold(true, false)
	began, last := time.Now(), time.Now()
	open, full := 0, false
	for time.Since(began) < stallFor && c.ctx.Err() == nil && !c.run.hasExited() {
		now := time.Now()
		_, _, n, size := e.counts()
		if n != open {
			open, last = n, now
		}
		full = n >= heldLogs || size >= heldBytes
		if now.Sub(last) > quiet && now.Sub(began) > 2*quiet {
			break
		}
		time.Sleep(4 * poll)
	}
	_, _, n, size := e.counts()
	stopped := time.Since(last) > quiet && !full
	more := memory(c.run.trial.PID()) - before
	seen := fmt.Sprintf("Acks held back for %s: %d logs and %d bytes came without one", ms(time.Since(began)), n, size)
	if before > 0 {
		seen += fmt.Sprintf(", memory %+.1f MiB", float64(more)/(1<<20))
	}
	if c.run.hasExited() {
		c.tell("stall", Fail, "wait while Acks do not come", "%s; it ended: %s%s", seen, c.run.end().Text, c.lines.lastWords())
		return false
	}
	from, _, _, _ := e.counts()
	e.hold(false, true)
	goesOn := e.await(regain, c.run.trial.Exited(), func() bool { return e.logs > from })
	cure := "keep a log until its Ack has come, bound how many you keep, and slow the source down when that many are on their way"
	switch {
	case c.run.hasExited():
		c.tell("stall", Fail, cure, "%s; when Acks came again it ended: %s%s", seen, c.run.end().Text, c.lines.lastWords())
		return false
	case before > 0 && more > grown:
		c.tell("stall", Fail, cure, "%s: what waits is kept without a bound", seen)
	case !goesOn && rate > 1:
		c.tell("stall", Fail, cure, "%s; when Acks came again nothing came any more", seen)
	case full:
		c.tell("stall", Warn, cure, "%s, until the node read no more: it does not wait for Acks, and what it holds is lost with its process", seen)
	case rate < 10:
		c.tell("stall", Note, "", "%s; at %.1f logs a second it cannot be told whether it waits: have it produce more, with --config or --feed", seen, rate)
	case stopped:
		c.tell("stall", OK, "", "%s; then it waited, and went on when they came", seen)
	default:
		c.tell("stall", Warn, cure, "%s, and it went on sending: it does not wait for Acks, and what it holds is lost with its process", seen)
	}
	return true
}

// nodeRestart takes the engine away as SIGKILL would, with logs that are not
// acked, and brings it back.
func (c *checker) nodeRestart() bool {
	e := c.engine
	e.hold(true, false)
	e.await(3*time.Second, c.run.trial.Exited(), func() bool { return len(e.open) >= 100 })
	e.down()
	e.mu.Lock()
	lost, streams := len(e.lost), e.inputs
	e.mu.Unlock()
	if err := e.up(); err != nil {
		c.tell("node-restart", Skip, "", "%v", err)
		return true
	}
	began := time.Now()
	back := e.await(regain, c.run.trial.Exited(), func() bool { return e.inputs > streams })
	if !back && c.run.hasExited() {
		exit := c.run.end()
		// The next process counts from its own start.
		c.checkSequence("until the node went away")
		c.traffic.forget()
		if !c.again("after the node went away") {
			return false
		}
		st := Warn
		if lost == 0 {
			st = OK
		}
		c.tell("node-restart", st, "reconnect, and send again with the same ids what was not acked (the kit's NewInput does)",
			"the node went away with %d logs not acked: it ended after %s (%s) and serves when started again; what it held in memory is lost", lost, ms(time.Since(began)), exit.Text)
		return true
	}
	if !back {
		c.tell("node-restart", Fail, "when the stream ends, open it again, or end the process so that it is started again",
			"the node went away and came back: within %s it neither connected again nor ended, so nothing more would come from it", regain)
		return true
	}
	took := time.Since(began)
	e.await(5*time.Second, c.run.trial.Exited(), func() bool { return len(e.lost) == 0 })
	e.mu.Lock()
	missing, resent, remade := len(e.lost), e.resent, e.remade
	e.mu.Unlock()
	seen := fmt.Sprintf("the node went away with %d logs not acked; connected again after %s", lost, ms(took))
	switch {
	case lost == 0:
		c.tell("node-restart", OK, "", "%s", seen)
	case missing > 0:
		c.tell("node-restart", Fail, "keep a log until an Ack with its id, or with that of a later one, has come, and send the rest again on the new stream",
			"%s, and %d of them never came again", seen, missing)
	case remade > 0:
		c.tell("node-restart", Warn, "send a log again with the id that it had: the mesh knows it by that", "%s; %d came again, %d of them with another id", seen, resent+remade, remade)
	default:
		c.tell("node-restart", OK, "", "%s; all %d came again, with the same ids", seen, resent)
	}
	return true
}

// inputLife stops the plugin, kills it, and starts it before its node.
func (c *checker) inputLife(sends bool) {
	e := c.engine
	if c.opts.wants("stop") {
		c.stop("while it sends")
	} else {
		c.run.end()
	}
	if c.ctx.Err() != nil || !c.opts.wants("before-node") && !c.opts.wants("restart") {
		return
	}
	c.beforeNode()
	if c.run.hasExited() || c.ctx.Err() != nil || !c.opts.wants("restart") || !c.restartInput() {
		return
	}
	if sends && c.opts.wants("stop") {
		e.await(c.opts.Wait, c.run.trial.Exited(), func() bool { return len(e.open) > 0 || e.logs > 0 })
		e.hold(true, false)
		c.stop("while no Acks come")
		e.hold(false, true)
	}
}

// beforeNode starts the plugin while there is no engine socket.
func (c *checker) beforeNode() {
	e := c.engine
	e.down()
	e.mu.Lock()
	streams := e.inputs
	e.mu.Unlock()
	r, err := c.launch()
	if err != nil {
		c.tell("before-node", Fail, "", "%v", err)
		return
	}
	c.run = r
	r.awaitExit(time.Second)
	if err := e.up(); err != nil {
		c.tell("before-node", Skip, "", "%v", err)
		return
	}
	connected := func() bool { return e.inputs > streams }
	began := time.Now()
	ended := 0
	for time.Since(began) < regain && c.ctx.Err() == nil {
		if e.await(regain, c.run.trial.Exited(), connected) {
			break
		}
		if !c.run.hasExited() {
			break
		}
		c.run.end()
		ended++
		if r, err = c.launch(); err != nil {
			break
		}
		c.run = r
	}
	e.mu.Lock()
	ok := connected()
	e.mu.Unlock()
	switch {
	case !ok:
		c.tell("before-node", Fail, "try again until the node is there, or end the process so that it is started again", "started a second before the node, it is not connected %s after it%s", regain, c.lines.lastWords())
	case ended > 0:
		c.tell("before-node", OK, "", "started a second before the node, it ended %d times and was connected when started again, %s after the node", ended, ms(time.Since(began)))
	default:
		c.tell("before-node", OK, "", "started a second before the node, it was connected %s after it", ms(time.Since(began)))
	}
}

// restartInput kills the plugin and starts it again.
func (c *checker) restartInput() bool {
	e := c.engine
	c.run.look()
	c.run.trial.Signal(syscall.SIGKILL)
	c.run.awaitExit(c.opts.Start)
	c.run.end()
	c.orphaned("SIGKILL")
	e.mu.Lock()
	streams := e.inputs
	e.mu.Unlock()
	r, err := c.launch()
	if err == nil {
		c.run = r
		if e.await(c.opts.Start, r.trial.Exited(), func() bool { return e.inputs > streams }) {
			c.tell("restart", OK, "", "after SIGKILL it was connected again %s after its start", ms(time.Since(r.since)))
			return true
		}
		err = fmt.Errorf("not connected within %s%s", c.opts.Start, c.lines.lastWords())
	}
	c.tell("restart", Fail, "a plugin may be killed and started at any time: keep nothing that a killed one leaves from starting", "after SIGKILL: %v", err)
	return false
}
