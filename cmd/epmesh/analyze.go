package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/epmesh/epmesh/plugins/cel/replay"
)

type analyzeCmd struct {
	Files     []string      `arg:"" optional:"" help:"Read events from these files, one after the other; - is standard input, as without any."`
	Rules     []string      `name:"rules" sep:"none" placeholder:"PATH" help:"Rule files, and folders in which all are taken; may be given several times. Without: DIR/rules."`
	WorkDir   string        `name:"work-dir" placeholder:"DIR" help:"Work dir (WORK_DIR), whose pipeline files say which rules are disabled, and what patterns and tenants there are."`
	Rule      []string      `name:"rule" sep:"none" placeholder:"NAME" help:"Only the rule with this name or id; may be given several times."`
	MaxEvents int           `name:"history-events" placeholder:"N" help:"Keep at most so many events for searches (as the plugin: 200000)."`
	MaxAge    time.Duration `name:"history-age" placeholder:"TIME" help:"Keep them for so long (as the plugin: 24h), by the events' own times."`
	Explain   bool          `name:"explain" help:"Instead of alerts, show what the rules make of one event, the last."`
	Line      int           `name:"line" placeholder:"N" help:"With --explain: take the event in line N."`
	All       bool          `name:"all" help:"With --explain: show the rules of other data types too."`
	Strict    bool          `name:"strict" help:"End with exit code 1 at the first line that is no event, and where a rule does not load."`
	Summary   bool          `name:"summary" help:"Tell on standard error how many alerts each rule made."`
	JSON      bool          `name:"json" help:"Print the summary, or with --explain the explanation, as one line of JSON."`
}

func (analyzeCmd) Help() string {
	return `Events come in on standard input, one protobuf-JSON Event a line, such as epmesh
parse and epmesh tap event --json print; alerts go out on standard output, one
protobuf-JSON Alert a line. The history that rules search is the stream itself,
by the events' own times, so that yesterday's events make the alerts they would
have made. It needs no node and no server.

Examples:
  epmesh analyze --rules rules/ --summary < yesterday.jsonl
  epmesh parse --work-dir . < logs.jsonl | epmesh analyze --work-dir . --rule 'SSH brute force'
  epmesh analyze --rules new-rule.yml --explain --line 312 events.jsonl`
}

func (c *analyzeCmd) check() error {
	switch {
	case !c.Explain && (c.All || c.Line != 0):
		return usagef("--all and --line go with --explain")
	case c.Line < 0:
		return usagef("--line %d: lines count from 1", c.Line)
	case c.MaxEvents < 0 || c.MaxAge < 0:
		return usagef("--history-events and --history-age: want more than 0")
	case c.JSON && !c.Explain && !c.Summary:
		return usagef("--json goes with --summary or --explain: alerts are JSON already")
	}
	return nil
}

func (c *analyzeCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)

	rules, err := c.load(a)
	if err != nil {
		return err
	}
	in, closeIn, err := (&parseCmd{Files: c.Files}).input(a.stdin)
	if err != nil {
		return err
	}
	defer closeIn()
	settings := config.Defaults()
	settings.Log.Level = "warn"
	log, err := newLogger(a, settings)
	if err != nil {
		return err
	}
	engine := rules.Engine(cel.EngineOptions{MaxEvents: c.MaxEvents, MaxAge: c.MaxAge, Logger: log})
	s := replay.Stream{Engine: engine, Bad: c.bad(a.stderr)}
	x := ruleExplainer{cmd: c, engine: engine}
	if c.Explain {
		s.Line = x.line
	}
	summary, err := s.Run(a.ctx, in, a.stdout)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil
	case err == nil || errors.Is(err, errExplained):
		err = nil
		if c.Explain {
			err = x.print(a)
		}
	case interrupted(a.ctx):
		err = fmt.Errorf("interrupted after %s: the rest of the input was not read", count(summary.Events, "event"))
	}
	if !c.Explain {
		if failed := c.tell(a.stderr, summary, rules); err == nil {
			err = failed
		}
	}
	return err
}

// load reads and compiles the rules, and tells what is wrong with them.
func (c *analyzeCmd) load(a *app) (*cel.Rules, error) {
	dir := c.WorkDir
	if dir == "" {
		dir = os.Getenv("WORK_DIR")
	}
	set := &config.Set{}
	if dir != "" {
		var report config.Report
		if set, report = config.Load(filepath.Join(dir, "pipeline")); len(report) > 0 {
			complain(a.stderr, report.String())
		}
	}
	paths := c.Rules
	if len(paths) == 0 {
		if dir == "" {
			return nil, usagef("say where the rules are: --rules DIR, or --work-dir DIR for those in DIR/rules")
		}
		paths = []string{filepath.Join(dir, "rules")}
	}
	read, report := config.LoadRuleFiles(paths...)
	rules, found := cel.CompileRules(read, set)
	report = append(report, found...)
	if len(report) > 0 {
		complain(a.stderr, report.String())
	}
	switch {
	case c.Strict && report.Err() != nil:
		return nil, fmt.Errorf("%s in the rules", count(len(report.Errors()), "mistake"))
	case len(rules.Names()) == 0:
		return nil, fmt.Errorf("no rule was loaded from %s", paths[0])
	case len(c.Rule) > 0:
		return rules.Only(c.Rule...)
	}
	return rules, nil
}

// maxBadTold is how many bad lines are told of.
const maxBadTold = 10

// bad tells of lines that are no events.
func (c *analyzeCmd) bad(w io.Writer) func(int, error) error {
	told := 0
	return func(line int, err error) error {
		if c.Strict {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if told++; told <= maxBadTold {
			complain(w, fmt.Sprintf("line %d: %v", line, err))
		}
		if told == maxBadTold {
			complain(w, "further lines that are no events are only counted")
		}
		return nil
	}
}
