package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/cases"
)

// text tells people what became of the cases.
func (t *tally) text(to io.Writer, files []cases.File, coverage *cases.Coverage, verbose bool) error {
	w := bufio.NewWriter(to)
	line := func(format string, args ...any) { fmt.Fprintln(w, printable(fmt.Sprintf(format, args...))) }
	for i := range files {
		f := &files[i]
		n, failed, took := len(f.Results), f.Failed(), f.Time.Round(10*time.Microsecond)
		switch {
		case f.Problems.Err() != nil:
			line("FAIL  %s  its cases cannot be run", f.Path)
			for _, p := range f.Problems {
				line("      %s", p)
			}
			continue
		case t.problems[f.Path] != nil:
			line("FAIL  %s  cannot be updated: %v", f.Path, t.problems[f.Path])
		case t.updated[f.Path] > 0:
			line("new   %s  %d of %s updated", f.Path, t.updated[f.Path], count(n, "case"))
			failed = 0
		case n == 0:
			continue // none was chosen
		case failed > 0:
			line("FAIL  %s  %d of %s failed  %s", f.Path, failed, count(n, "case"), took)
		default:
			line("ok    %s  %s  %s", f.Path, count(n, "case"), took)
		}
		for j := range f.Results {
			r := &f.Results[j]
			switch {
			case r.Passed() && verbose:
				line("      ok    %s  %s", r.Case.Name, r.Time.Round(10*time.Microsecond))
			case r.Passed(), t.updated[f.Path] > 0:
			default:
				line("")
				line("      %s: %s", r.Case.Position, r.Case.Name)
				for _, text := range r.Lines() {
					line("        %s", text)
				}
			}
		}
		if failed > 0 {
			line("")
		}
		for _, n := range f.Notes {
			line("note  %s: %s", n.Position, n.Text)
		}
	}
	if coverage != nil {
		coverageText(line, coverage)
	}
	line("%s, %s: %d passed, %d failed", count(len(files), "file"), count(t.cases, "case"), t.cases-t.failed, t.failed)
	return w.Flush()
}

func coverageText(line func(string, ...any), c *cases.Coverage) {
	line("coverage: %d of %s run in a case, %d%%", c.Run, count(c.Steps, "step"), c.Percent())
	for _, s := range c.Idle {
		line("      %s: %s: no case runs it", s.Position, s.Kind)
	}
	for _, s := range c.Unchanging {
		line("      %s: %s: runs in %s and changes nothing", s.Position, s.Kind, count(s.Runs, "case"))
	}
	for _, s := range c.Unentered {
		line("      %s: no case enters this pipeline of %s", s.Position, count(s.Steps, "step"))
	}
}

// What is printed as JSON. Line and Column count from 1.
type (
	testPlace struct {
		File   string `json:"file"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}
	testResult struct {
		testPlace
		Case        string           `json:"case"`
		Result      string           `json:"result"` // pass, fail, updated
		Seconds     float64          `json:"seconds"`
		Differences []testDifference `json:"differences,omitempty"`
	}
	testDifference struct {
		Kind string `json:"kind"`
		Path string `json:"path,omitempty"`
		Line int    `json:"line,omitempty"`
		Want any    `json:"want,omitempty"`
		Got  any    `json:"got,omitempty"`
		Note string `json:"note,omitempty"`
	}
	testProblem struct {
		testPlace
		Problem string `json:"problem"`
		Hint    string `json:"hint,omitempty"`
	}
	testNote struct {
		testPlace
		Note string `json:"note"`
	}
	testCoverage struct {
		Steps      int        `json:"steps"`
		Run        int        `json:"run"`
		Percent    int        `json:"percent"`
		Idle       []testStep `json:"idle,omitempty"`
		Unchanging []testStep `json:"unchanging,omitempty"`
		Unentered  []testStep `json:"unentered,omitempty"`
	}
	testStep struct {
		testPlace
		Kind string `json:"kind,omitempty"`
	}
)

func placeOf(p config.Position) testPlace { return testPlace{p.File, p.Line, p.Column} }

// json prints the same for programs.
func (t *tally) json(to io.Writer, files []cases.File, coverage *cases.Coverage) error {
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	var err error
	line := func(v any) {
		if err == nil {
			err = e.Encode(v)
		}
	}
	for i := range files {
		f := &files[i]
		for _, p := range f.Problems {
			line(testProblem{placeOf(p.Position), p.Message, p.Hint})
		}
		if p := t.problems[f.Path]; p != nil {
			line(testProblem{testPlace{File: f.Path}, p.Error(), ""})
		}
		for j := range f.Results {
			line(t.result(f, &f.Results[j]))
		}
		for _, n := range f.Notes {
			line(testNote{placeOf(n.Position), n.Text})
		}
	}
	if coverage != nil {
		steps := func(list []cases.Step) (out []testStep) {
			for _, s := range list {
				out = append(out, testStep{placeOf(s.Position), s.Kind})
			}
			return out
		}
		line(map[string]testCoverage{"coverage": {
			coverage.Steps, coverage.Run, coverage.Percent(),
			steps(coverage.Idle), steps(coverage.Unchanging), steps(coverage.Unentered),
		}})
	}
	if err != nil {
		return fmt.Errorf("print results: %w", err)
	}
	return w.Flush()
}

func (t *tally) result(f *cases.File, r *cases.Result) testResult {
	out := testResult{testPlace: placeOf(r.Case.Position), Case: r.Case.Name, Result: "pass", Seconds: r.Time.Seconds()}
	switch {
	case !r.Passed() && t.updated[f.Path] > 0:
		out.Result = "updated"
	case !r.Passed():
		out.Result = "fail"
	}
	for _, d := range r.Differences {
		out.Differences = append(out.Differences, testDifference{string(d.Kind), d.Path, d.Position.Line, d.Want, d.Got, d.Note})
	}
	return out
}
