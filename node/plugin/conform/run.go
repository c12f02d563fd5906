package conform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// poll is the pause between two looks at what cannot be waited for.
const poll = 5 * time.Millisecond

// run is one process of the plugin.
type run struct {
	trial   *plugin.Trial
	since   time.Time
	feed    *exec.Cmd
	inputs  int        // streams of logs that were opened before it
	kin     []relative // descendants, as last looked at
	ended   bool
	exit    plugin.Exit
	orphans []relative // of kin, those that outlived it
}

// launch starts the plugin.
func (c *checker) launch() (*run, error) {
	name := c.name
	if name == "" {
		name = c.opts.File
	}
	spec := plugin.Spec{Name: name, Argv: c.opts.Argv, Env: c.opts.Env, Dir: c.opts.Dir}
	node, err := os.Hostname()
	if err != nil {
		node = "localhost"
	}
	c.engine.mu.Lock()
	inputs := c.engine.inputs
	c.engine.mu.Unlock()
	c.lines.begin()
	t, err := plugin.StartTrial(plugin.ProcessOptions{WorkDir: c.workDir, Node: node}, spec, c.lines.take)
	if err != nil {
		return nil, err
	}
	r := &run{trial: t, since: time.Now(), inputs: inputs}
	if c.opts.Feed != "" {
		r.feed = exec.Command("/bin/sh", "-c", c.opts.Feed)
		r.feed.Env = append(os.Environ(), "WORK_DIR="+c.workDir)
		r.feed.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := r.feed.Start(); err != nil {
			r.feed = nil
			r.end()
			return nil, fmt.Errorf("start the feed: %w", err)
		}
	}
	return r, nil
}

func (r *run) hasExited() bool {
	select {
	case <-r.trial.Exited():
		return true
	default:
		return false
	}
}

// awaitExit reports whether the plugin ended within d.
func (r *run) awaitExit(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.trial.Exited():
		return true
	case <-timer.C:
		return false
	}
}

// look remembers the descendants that the process has now.
func (r *run) look() { r.kin = descendants(r.trial.PID()) }

// end kills what is left of the process and returns how it ended.
func (r *run) end() plugin.Exit {
	if r.ended {
		return r.exit
	}
	r.ended = true
	if r.feed != nil {
		_ = syscall.Kill(-r.feed.Process.Pid, syscall.SIGKILL)
		// How a feed ends that was killed says nothing.
		_ = r.feed.Wait()
	}
	r.exit = r.trial.End()
	r.orphans = slices.DeleteFunc(r.kin, func(k relative) bool { return !k.alive() })
	for _, k := range r.orphans {
		_ = syscall.Kill(k.pid, syscall.SIGKILL)
	}
	return r.exit
}

// start starts the plugin for the first time and finds out what it is.
func (c *checker) start() bool {
	r, err := c.launch()
	if err != nil {
		c.tell("start", Fail, "make it executable, with a first line such as #!/usr/bin/env python3 where it is a script", "%v", err)
		return false
	}
	c.run = r
	what, took, ok := c.awaitServing(c.opts.Start)
	switch {
	case ok:
		c.tell("start", OK, "", "%s after %s", what, ms(took))
		return true
	case r.hasExited():
		exit := r.end()
		if exit.Code == 0 {
			c.tell("start", Fail, "a plugin serves until SIGTERM; if it is for another MODE than manager, set that with --env MODE=...",
				"ended at once with exit code 0, which tells a node that it is not for it%s", c.lines.lastWords())
		} else {
			c.tell("start", Fail, "see what it writes with --verbose; does it need settings (--config)?", "ended: %s%s", exit.Text, c.lines.lastWords())
		}
	default:
		c.tell("start", Fail, c.startCure(), "neither a socket of its own nor a stream of logs to the node within %s%s%s", c.opts.Start, c.others(), c.lines.lastWords())
	}
	return false
}

func (c *checker) startCure() string {
	if c.opts.Kind == Input {
		return "connect to WORK_DIR/sockets/engine_server.sock and open Engine.Input at the start"
	}
	name, kind := c.name, c.opts.Kind
	if name == "" {
		name = "<name>"
	}
	if kind == "" {
		kind = "<kind>"
	}
	return fmt.Sprintf("serve on WORK_DIR/sockets/%s_%s.sock, with WORK_DIR from the environment; an input connects to engine_server.sock there", name, kind)
}

// others names the files in the folder of sockets that are none of the plugin's.
func (c *checker) others() string {
	var list []string
	for _, f := range c.sockets() {
		if f != engineSocket {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "; what is in WORK_DIR/sockets: " + strings.Join(list, ", ")
}

func (c *checker) sockets() []string {
	entries, err := os.ReadDir(filepath.Join(c.workDir, "sockets"))
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// awaitServing waits until the plugin serves a socket or sends logs, and takes
// its name from the first socket if it is not known.
func (c *checker) awaitServing(d time.Duration) (what string, took time.Duration, ok bool) {
	var seen string
	var since, first time.Time
	for deadline := c.run.since.Add(d); ; {
		now := c.serving()
		if now != seen {
			seen, since = now, time.Now()
			if first.IsZero() {
				first = since
			}
		}
		// It may open several sockets, one after the other.
		if seen != "" && time.Since(since) > 150*time.Millisecond {
			return seen, first.Sub(c.run.since), true
		}
		if c.ctx.Err() != nil || time.Now().After(deadline) || c.run.hasExited() {
			return "", 0, false
		}
		time.Sleep(poll)
	}
}

// serving says what the plugin serves at this moment; empty if nothing that was
// asked for.
func (c *checker) serving() string {
	var list []string
	for _, f := range c.sockets() {
		kind, name, ok := plugin.ParseSocketName(f)
		if !ok || c.opts.Kind != "" && c.opts.Kind != string(kind) || c.name != "" && c.name != name {
			continue
		}
		path := filepath.Join(c.workDir, "sockets", f)
		if conn, err := dialUnix(path); err == nil {
			conn.Close()
			if c.name == "" {
				c.name = name
			}
			list = append(list, f)
		}
	}
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.engine.inputs > c.run.inputs && (c.opts.Kind == "" || c.opts.Kind == Input) {
		list = append(list, "a stream of logs to the node")
	}
	return strings.Join(list, ", ")
}

// ms is a duration for people.
func ms(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
