package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/cases"
	"github.com/epmesh/epmesh/plugins/cel"
	pb "github.com/epmesh/epmesh/proto"
)

type testCmd struct {
	Files    []string      `arg:"" optional:"" name:"files" help:"Case files, and folders in which all files are taken whose names end in _test.yml."`
	Only     string        `name:"run" placeholder:"REGEX" help:"Run only the cases whose names match."`
	Update   bool          `name:"update" help:"Write what came into the wants of the cases that fail or have none."`
	Verbose  bool          `name:"verbose" short:"v" help:"List the cases that pass too."`
	JSON     bool          `name:"json" help:"Print JSON, one result a line."`
	JUnit    string        `name:"junit" placeholder:"FILE" help:"Write the results as JUnit XML, for CI."`
	Coverage bool          `name:"coverage" help:"Say which steps no case runs."`
	Timeout  time.Duration `name:"timeout" placeholder:"TIME" default:"30s" help:"What one case may take."`
}

func (testCmd) Help() string {
	return `A case is a log and what is wanted of the event that comes of it, or several
events and the alerts that rules are to make of them. Cases lie in files called
NAME_test.yml beside the pipeline files or rules that they test; see
docs/testing-pipelines.md. No node and no plugin is needed.

Examples:
  epmesh test workdir/pipeline
  epmesh test pipeline/sshd_test.yml --run 'accepted' --update
  epmesh test --junit report.xml --coverage pipeline`
}

func (c *testCmd) Run(a *app) error {
	o := cases.Options{Timeout: c.Timeout, Coverage: c.Coverage, Rules: runRules}
	switch {
	case len(c.Files) == 0:
		return usagef("give the case files to run, or the folders that hold them, such as epmesh test pipeline")
	case c.Timeout <= 0:
		return usagef("--timeout %s: want more than 0", c.Timeout)
	case c.Update && c.JUnit != "":
		return usagef("--update and --junit exclude each other: after an update all pass")
	}
	if c.Only != "" {
		only, err := regexp.Compile(c.Only)
		if err != nil {
			return usagef("--run: %w", err)
		}
		o.Only = only.MatchString
	}
	paths, err := config.FindCases(c.Files)
	if err != nil {
		return usagef("%w", err)
	}
	if len(paths) == 0 {
		return errors.New("no case files: their names end in " + config.CaseSuffix)
	}
	files, coverage, err := cases.Run(a.ctx, paths, o)
	switch {
	case err != nil && interrupted(a.ctx):
		return errors.New("interrupted: not all cases were run, and no file was written")
	case err != nil:
		return fmt.Errorf("run cases: %w", err)
	}
	t := newTally(files)
	if c.Update {
		t.update(files)
	}
	if c.JUnit != "" {
		if err := writeJUnit(c.JUnit, files); err != nil {
			return err
		}
	}
	if c.JSON {
		err = t.json(a.stdout, files, coverage)
	} else {
		err = t.text(a.stdout, files, coverage, c.Verbose)
	}
	switch {
	case err != nil:
		return err
	case t.cases == 0 && t.refused == 0:
		return fmt.Errorf("no case is called so: --run %s", c.Only)
	case t.failed+t.refused+len(t.problems) > 0:
		return errSilent // standard output has it
	}
	return nil
}

// runRules is how rules run in cases: as the cel plugin runs them, over the
// events' own times.
func runRules(rules []config.Rule, set *config.Set) (func() func(*pb.Event) []*pb.Alert, config.Report) {
	compiled, report := cel.CompileRules(rules, set)
	return func() func(*pb.Event) []*pb.Alert { return compiled.Engine(cel.EngineOptions{}).Analyze }, report
}

// tally is what became of all files together.
type tally struct {
	cases, failed int
	refused       int            // files whose cases were not run
	updated       map[string]int // cases by file
	problems      map[string]error
}

func newTally(files []cases.File) *tally {
	t := &tally{updated: map[string]int{}, problems: map[string]error{}}
	for i := range files {
		f := &files[i]
		if f.Problems.Err() != nil {
			t.refused++
		}
		t.cases += len(f.Results)
		t.failed += f.Failed()
	}
	return t
}

// update writes the wants of failed cases anew.
func (t *tally) update(files []cases.File) {
	for i := range files {
		f := &files[i]
		if f.Failed() == 0 {
			continue
		}
		text, n, err := f.Update()
		if err == nil {
			err = config.WriteCases(f.Path, text)
		}
		if err != nil {
			t.problems[f.Path] = err
			continue
		}
		t.updated[f.Path] = n
		t.failed -= n
	}
}
