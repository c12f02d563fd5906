package conform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// checker is one run of the checks.
type checker struct {
	opts    Options
	ctx     context.Context
	report  Report
	kind    string // what is being checked
	last    time.Time
	workDir string
	engine  *engine
	traffic *traffic
	lines   *lines
	name    string // what it is served as, once known
	run     *run   // the plugin's present process
}

// ErrUnreachable is wrapped where nobody serves the socket that was named.
var ErrUnreachable = errors.New("nobody serves this socket")

// Check runs every check that applies and reports what each saw. An error means
// that nothing could be checked. It ends early, with ctx's error, when ctx does;
// what it started it has ended when it returns.
func Check(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	c := &checker{opts: opts, ctx: ctx, last: time.Now(), name: opts.Name, lines: newLines(opts.Output)}
	if opts.Socket != "" {
		return &c.report, c.checkSocket()
	}
	if err := c.makeWorkDir(); err != nil {
		return nil, err
	}
	defer os.RemoveAll(c.workDir)
	c.engine = newEngine(c.workDir)
	c.traffic = newTraffic(opts.Sequence)
	c.engine.look, c.engine.hear = c.traffic.log, c.traffic.message
	if err := c.engine.up(); err != nil {
		return nil, err
	}
	defer c.engine.down()
	defer func() {
		if c.run != nil {
			c.run.end()
		}
	}()
	c.checkProcess()
	c.kind = ""
	c.checkOutput()
	return &c.report, ctx.Err()
}

// makeWorkDir makes a work dir as a node's is. Its path is short: sockets lie
// in it.
func (c *checker) makeWorkDir() error {
	dir, err := os.MkdirTemp("", "epc")
	if err != nil {
		return fmt.Errorf("work dir: %w", err)
	}
	c.workDir = dir
	for _, name := range []string{"pipeline", "rules", "sockets", "plugins", "geolocation", "logs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o750); err != nil {
			return fmt.Errorf("work dir: %w", err)
		}
	}
	if c.opts.Prepare != nil {
		if err := c.opts.Prepare(dir); err != nil {
			os.RemoveAll(dir)
			return fmt.Errorf("work dir: %w", err)
		}
	}
	return nil
}

// checkSocket checks a plugin that runs, which can only be called.
func (c *checker) checkSocket() error {
	kind, name, err := SocketKind(c.opts.Socket)
	if err != nil {
		return err
	}
	if c.opts.Name != "" && c.opts.Name != name || c.opts.Kind != "" && c.opts.Kind != string(kind) {
		return fmt.Errorf("%s is the socket of %s, %s", c.opts.Socket, name, kind)
	}
	conn, err := dial(c.ctx, c.opts.Socket, c.opts.Call)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.opts.Socket, ErrUnreachable, err)
	}
	defer conn.close()
	c.name, c.kind = name, string(kind)
	c.report.Kinds = []string{string(kind)}
	c.socketFile(kind, c.opts.Socket)
	c.calls(kind, conn)
	c.kind = ""
	c.tell("process", Skip, "", "start, stop, restart and output are checked where the plugin is started by this command: name its executable")
	return c.ctx.Err()
}

// checkProcess starts the plugin and checks everything.
func (c *checker) checkProcess() {
	if !c.start() {
		return
	}
	found := c.found()
	c.report.Kinds = found
	if c.opts.File != "plugin" && c.name != "" && c.opts.File != c.name {
		c.tell("name", Note, "", "the file is %s and the plugin serves as %s: pipeline files name the latter, epmesh status shows both", c.opts.File, c.name)
	}
	served := slices.DeleteFunc(slices.Clone(found), func(k string) bool { return k == Input })
	for _, kind := range served {
		if c.ctx.Err() != nil {
			return
		}
		c.checkServed(plugin.Kind(kind))
		if c.run.hasExited() {
			return // it was told
		}
	}
	c.checkMessages()
	if slices.Contains(found, Input) {
		c.kind = Input
		c.checkInput()
	} else {
		c.life(served)
	}
	c.kind = ""
}

// checkMessages judges the messages that calls have led to.
func (c *checker) checkMessages() {
	c.traffic.mu.Lock()
	n, bad := c.traffic.msgs, c.traffic.badMsg
	c.traffic.mu.Unlock()
	c.kind = ""
	switch {
	case bad != "":
		c.tell("messages", Warn, "give a message a topic, by which it finds its notification plugins, and an id that derives from its cause", "of %d messages that it sent: %s", n, bad)
	case n > 0:
		c.tell("messages", OK, "", "%d messages sent to the node, each with id and topic", n)
	}
}

// checkServed calls the plugin on one socket.
func (c *checker) checkServed(kind plugin.Kind) {
	c.kind = string(kind)
	path := c.socket(kind)
	c.socketFile(kind, path)
	conn, err := dial(c.ctx, path, c.opts.Call)
	if err != nil {
		c.tell("call", Fail, "serve gRPC without TLS on the socket", "the socket is there and does not speak gRPC: %v", err)
		return
	}
	defer conn.close()
	c.calls(kind, conn)
}

func (c *checker) socket(kind plugin.Kind) string {
	return filepath.Join(c.workDir, "sockets", plugin.SocketName(kind, c.name))
}

// socketFile checks the name and the mode of a socket.
func (c *checker) socketFile(kind plugin.Kind, path string) {
	info, err := os.Stat(path)
	if err != nil {
		c.tell("socket", Fail, "keep the socket for as long as the process serves", "%v", err)
		return
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		c.tell("socket", Warn, "chmod the socket to 0660 after binding, so that only the node's user and group can call the plugin",
			"%s has mode %04o: every user of this machine may call it", filepath.Base(path), mode)
	case mode&0o600 != 0o600:
		c.tell("socket", Fail, "chmod the socket to 0660 after binding", "%s has mode %04o: not even its owner may connect", filepath.Base(path), mode)
	default:
		c.tell("socket", OK, "", "%s, mode %04o", plugin.SocketName(kind, c.name), mode)
	}
}

// found are the kinds that the plugin turned out to be, of those asked for.
func (c *checker) found() []string {
	var list []string
	for _, k := range plugin.Kinds {
		if IsSocket(c.socket(k)) && (c.opts.Kind == "" || c.opts.Kind == string(k)) {
			list = append(list, string(k))
		}
	}
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.engine.inputs > 0 && (c.opts.Kind == "" || c.opts.Kind == Input) {
		list = append(list, Input)
	}
	return list
}

// checkOutput judges what the plugin wrote.
func (c *checker) checkOutput() {
	l := c.lines.sum()
	seen := fmt.Sprintf("%d lines, %d of them JSON with a level", l.lines, l.json)
	switch {
	case l.trace != "":
		c.tell("output", Warn, "catch what fails in a call and answer an error, with one line in the log", "a trace in the log: %s", l.trace)
	case l.left > 0:
		c.tell("output", Note, "", "%s; of a node's 100 lines a second it wrote %d too many, which a node counts and leaves out: a line for each call is much under load", seen, l.left)
	case l.cut > 0:
		c.tell("output", Warn, "keep lines below 64 KiB", "%s; %d were longer than a node reads", seen, l.cut)
	case l.lines > 0 && l.json == 0:
		c.tell("output", Note, "", "%s: a node logs plain lines on standard error as warnings", seen)
	default:
		c.tell("output", OK, "", "%s", seen)
	}
}

// oneLine keeps what was seen on one line and short.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "..."
	}
	return s
}
