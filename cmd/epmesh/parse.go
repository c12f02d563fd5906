package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/offline"
	"github.com/epmesh/epmesh/node/pipeline"
	pb "github.com/epmesh/epmesh/proto"
)

type parseCmd struct {
	Files         []string      `arg:"" optional:"" help:"Read logs from these files, one after the other; - is standard input, as without any."`
	WorkDir       string        `name:"work-dir" placeholder:"DIR" help:"Work dir, with the folders pipeline, sockets and plugins (WORK_DIR)."`
	Plugins       bool          `name:"plugins" help:"Start the parsing plugins that the pipelines call, from DIR/plugins and the bundled ones."`
	PluginTimeout time.Duration `name:"plugin-timeout" placeholder:"TIME" default:"5s" help:"How long to wait for a plugin that is not there (${default})."`
	Dead          string        `name:"dead" placeholder:"FILE" help:"Keep the lines that become no event in this file, as JSON with the reason."`
	Raw           bool          `name:"raw" help:"Take lines as they are for raw texts of logs, instead of JSON."`
	DataType      string        `name:"data-type" placeholder:"TYPE" help:"With --raw: the logs' data type, which chooses the pipelines."`
	DataSource    string        `name:"data-source" placeholder:"NAME" help:"With --raw: the logs' data source."`
	Tenant        string        `name:"tenant" placeholder:"ID" help:"With --raw: the logs' tenant."`
	Explain       bool          `name:"explain" help:"Instead of events, show what each step does with one log, the first."`
	Line          int           `name:"line" placeholder:"N" help:"With --explain: take the log in line N."`
	All           bool          `name:"all" help:"With --explain: show the steps that were skipped too."`
	Unknown       bool          `name:"unknown" help:"List the fields that vanished since events have no place for them."`
	JSON          bool          `name:"json" help:"Print the summary, or with --explain the explanation, as one line of JSON."`
	LogLevel      string        `name:"log-level" placeholder:"LEVEL" help:"What plugins and their life are logged from: trace, debug, info, warn or error."`
}

func (parseCmd) Help() string {
	return `Logs come in on standard input, one protobuf-JSON Log a line; events go out on
standard output, one protobuf-JSON Event a line, in order, as a node would store
them. It needs no node and no server. Dynamic steps call the plugins that serve in
DIR/sockets, or those that --plugins starts.

Examples:
  epmesh parse --work-dir . < logs.jsonl > events.jsonl
  tail -f /var/log/auth.log | epmesh parse --raw --data-type linux --plugins
  epmesh parse --explain --raw --data-type linux < one-line.log`
}

func (c *parseCmd) check() error {
	switch {
	case !c.Raw && (c.DataType != "" || c.DataSource != "" || c.Tenant != ""):
		return usagef("--data-type, --data-source and --tenant go with --raw: logs in JSON say it themselves")
	case c.Raw && c.DataType == "":
		return usagef("--raw needs --data-type, which chooses the pipelines")
	case !c.Explain && (c.All || c.Line != 0):
		return usagef("--all and --line go with --explain")
	case c.Line < 0:
		return usagef("--line %d: lines count from 1", c.Line)
	case c.Explain && c.Dead != "":
		return usagef("--explain keeps no dead lines: leave --dead out")
	case c.PluginTimeout <= 0:
		return usagef("--plugin-timeout %s: want a time such as 10s", c.PluginTimeout)
	}
	return nil
}

func (c *parseCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	// A reader that has gone, as head does, ends the work: plugins are stopped
	// before this process ends.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)

	in, closeIn, err := c.input(a.stdin)
	if err != nil {
		return err
	}
	defer closeIn()
	r, err := c.runner(a)
	if err != nil {
		return err
	}
	defer r.Close()
	dead, err := c.deadFile()
	if err != nil {
		return err
	}
	if c.Explain {
		err = c.explain(a, r, in)
	} else {
		err = c.stream(a, r, in, dead)
	}
	if dead != nil {
		if closing := dead.Close(); err == nil && closing != nil {
			err = fmt.Errorf("dead lines: %w", closing)
		}
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// runner is what makes events, as a node with these settings would.
func (c *parseCmd) runner(a *app) (*offline.Runner, error) {
	s, err := config.LoadSettings(config.Sources{
		Dir: c.WorkDir, Lookup: os.LookupEnv, Environ: os.Environ(),
		Override: func(s *config.Settings) {
			if c.LogLevel != "" {
				s.Log.Level = c.LogLevel
			} else if s.Log.Level == config.Defaults().Log.Level && !logLevelAsked() {
				s.Log.Level = "warn" // that plugins come and go is no news here
			}
		},
		Warn: func(p config.Problem) { complain(a.stderr, p.String()) },
	})
	if err != nil {
		return nil, err
	}
	log, err := newLogger(a, s)
	if err != nil {
		return nil, err
	}
	n, err := nodeOptions(s, log)
	if err != nil {
		return nil, err
	}
	r, err := offline.Open(offline.Options{
		Settings: s, Pipeline: pipeline.Options{ListUnknown: c.Unknown || c.Explain},
		Start: c.Plugins, Bundled: n.Bundled, BundledKind: n.BundledKind, Guard: n.Guard,
		Wait: c.PluginTimeout, Tell: func(text string) { complain(a.stderr, text) }, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	if report := r.Problems(); len(report) > 0 {
		complain(a.stderr, report.String())
	}
	return r, nil
}

// input is what logs are read from.
func (c *parseCmd) input(stdin io.Reader) (in io.Reader, closeAll func(), err error) {
	if len(c.Files) == 0 || len(c.Files) == 1 && c.Files[0] == "-" {
		return stdin, func() {}, nil
	}
	var files []io.Reader
	closeAll = func() {
		for _, f := range files {
			if f != stdin {
				f.(*os.File).Close()
			}
		}
	}
	for _, name := range c.Files {
		if name == "-" {
			files = append(files, stdin)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("read logs: %w", err)
		}
		files = append(files, f)
	}
	return &joined{files: files}, closeAll, nil
}

// joined are files behind each other. One that does not end with its line ends
// it there all the same.
type joined struct {
	files []io.Reader
	open  bool // a line has begun
}

func (j *joined) Read(b []byte) (int, error) {
	for len(j.files) > 0 {
		n, err := j.files[0].Read(b)
		if n > 0 {
			j.open = b[n-1] != '\n'
			return n, nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		j.files = j.files[1:]
		if j.open && len(b) > 0 {
			j.open, b[0] = false, '\n'
			return 1, nil
		}
	}
	return 0, io.EOF
}

// deadFile is where dead lines go; what was in it before is let go.
func (c *parseCmd) deadFile() (*os.File, error) {
	if c.Dead == "" {
		return nil, nil
	}
	for _, name := range c.Files {
		if same(name, c.Dead) {
			return nil, usagef("--dead %s is a file that logs are read from", c.Dead)
		}
	}
	f, err := os.OpenFile(c.Dead, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("dead lines: %w", err)
	}
	return f, nil
}

func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y) || filepath.Clean(a) == filepath.Clean(b)
}

// decode makes a log of a line.
func (c *parseCmd) decode(line []byte) (*pb.Log, []string, error) {
	if !c.Raw {
		return offline.Decode(line)
	}
	return &pb.Log{DataType: c.DataType, DataSource: c.DataSource, TenantId: c.Tenant, Raw: strings.ToValidUTF8(string(line), "\uFFFD")}, nil, nil
}

func (c *parseCmd) stream(a *app, r *offline.Runner, in io.Reader, dead *os.File) error {
	keys := misspelt{w: a.stderr, told: map[string]bool{}}
	s := offline.Stream{Runner: r, Decode: c.decode, Unknown: keys.tell}
	if dead != nil {
		s.Dead = dead
	}
	summary, err := s.Run(a.ctx, in, a.stdout)
	if errors.Is(err, syscall.EPIPE) {
		return err
	}
	if c.JSON {
		text, failed := json.Marshal(struct {
			offline.Summary
			Rate float64 `json:"rate"`
		}{summary, summary.Rate()})
		if failed != nil {
			return failed
		}
		fmt.Fprintf(a.stderr, "%s\n", text)
	} else {
		fmt.Fprint(a.stderr, c.summaryText(summary))
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted after %s: the rest of the input was not read", count(summary.Logs, "log"))
	}
	return err
}
