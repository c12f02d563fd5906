package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file; Line and Column count from 1. Where a value
// comes from no file, File names its origin and Line is 0.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Severity tells what a problem means for what was loaded.
type Severity int

const (
	// Note: nothing is wrong, but somebody who looks for something may want to
	// know. Only `epmesh check` has such findings.
	Note Severity = iota - 1
	// Warning: what was loaded works, but likely not as its author thinks.
	Warning
	// Error: the file, or the settings, must not be used.
	Error
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Note:
		return "note"
	}
	return "warning"
}

// Problem is one finding in a configuration. It never holds a secret: values
// of plugin settings and URLs are left out of its texts.
type Problem struct {
	Position Position
	Severity Severity
	Rule     string // what kind of mistake it is; one of the Rule constants, or a name of package lint
	Message  string // what is wrong
	Hint     string // how to cure it; may be empty
}

// String is one line: "file:line:column: severity: message; hint".
func (p Problem) String() string {
	text := p.Severity.String() + ": " + p.Message
	if at := p.Position.String(); at != "" {
		text = at + ": " + text
	}
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Report lists all that was found, in the order of files and lines.
type Report []Problem

// Errors are the problems that forbid the use of what was loaded.
func (r Report) Errors() Report { return r.of(Error) }

// Warnings are the problems that the user should know of, and no more.
func (r Report) Warnings() Report { return r.of(Warning) }

// Notes are what is worth knowing to those who ask.
func (r Report) Notes() Report { return r.of(Note) }

func (r Report) of(s Severity) Report {
	var out Report
	for _, p := range r {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Sort orders a report by files and positions.
func (r Report) Sort() {
	slices.SortStableFunc(r, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
	})
}

// Err is nil without errors, else a *ReportError with all of them.
func (r Report) Err() error {
	if errs := r.Errors(); len(errs) > 0 {
		return &ReportError{Report: errs}
	}
	return nil
}

// String is the report with one problem a line.
func (r Report) String() string {
	var b strings.Builder
	for _, p := range r {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// ReportError is a configuration refused, with every reason.
type ReportError struct{ Report Report }

func (e *ReportError) Error() string {
	return strings.TrimSuffix(e.Report.String(), "\n")
}

// maxProblems bounds what one file can say; a file with more than that is not
// a configuration with mistakes but another kind of file.
const maxProblems = 200

// findings gathers the problems of one file.
type findings struct {
	file    string
	report  Report
	omitted int
	failed  bool // an error was added, listed or not
}

func (f *findings) add(rule string, s Severity, line, column int, hint, format string, args ...any) {
	f.failed = f.failed || s == Error
	if len(f.report) >= maxProblems {
		f.omitted++
		return
	}
	f.report = append(f.report, Problem{
		Position: Position{File: f.file, Line: line, Column: column},
		Severity: s,
		Rule:     rule,
		Message:  fmt.Sprintf(format, args...),
		Hint:     hint,
	})
}

// sorted is the report by position, with a last word on what was left out.
func (f *findings) sorted() Report {
	slices.SortStableFunc(f.report, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	if f.omitted == 0 {
		return f.report
	}
	s := Warning
	if f.failed {
		s = Error
	}
	return append(f.report, Problem{
		Position: Position{File: f.file},
		Severity: s,
		Rule:     RuleTooMany,
		Message:  fmt.Sprintf("%d more problems in this file are not listed", f.omitted),
	})
}
