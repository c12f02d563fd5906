// Package lint finds the mistakes in configuration that load and do not do what
// their author thinks: conditions that are never true, patterns that match
// nothing, fields that vanish, rules that look at what no pipeline writes.
//
// What it reports as an error or a warning is meant to be right every time: it
// says nothing where it does not know. Every finding bears the name of a rule;
// Rules lists them, and comments in the files silence them.
package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/pipeline"
)

// Input is what is checked together: patterns, data types and fields of one file
// are known to the others.
type Input struct {
	// Pipelines are pipeline files in the order in which a node reads them.
	Pipelines []config.Source
	// Rules are rule files.
	Rules []config.Source
	// Report is what was found before, such as files that cannot be read. It is
	// silenced and sorted with the rest.
	Report config.Report
	// Others are the texts of files that Report speaks of and that are not among
	// the above: comments in them count too.
	Others []config.Source
}

// Options say what is known besides the files. The zero value knows nothing.
type Options struct {
	// Ignore are names of rules that are not wanted.
	Ignore []string
	// StripUnderscore is as in pipeline.Options.
	StripUnderscore bool
	// Bundled are the names of the plugins that come with the binary; nil: they
	// are not known.
	Bundled []string
	// Installed tells whether a plugin of that name is in the work dir; nil: no
	// work dir is checked, and nothing is said about plugins that are not there.
	Installed func(name string) bool
	// Settings says what is wrong with the settings that a bundled plugin is
	// given under a name; nil: it is not asked.
	Settings func(bundled, name string) error
}

// Check looks at everything and gives what it found by file and position. It
// takes a time that is bounded by the size of the files.
func Check(in Input, o Options) config.Report {
	set, report := config.InspectPipelines(in.Pipelines)
	l := &linter{options: o, set: set, patterns: pattern.New(set.Patterns), steps: map[string]bool{}}
	l.report = append(append(l.report, in.Report...), report...)
	for _, f := range in.Rules {
		rules, report := config.InspectRules(f)
		l.rules, l.report = append(l.rules, rules...), append(l.report, report...)
	}
	l.namedPatterns()
	l.pipelines()
	l.backstop()
	l.duplicates()
	l.flows()
	l.allRules()
	l.plugins()
	report = l.silence(in)
	report.Sort()
	return slices.Compact(report)
}

// linter is one Check.
type linter struct {
	options  Options
	set      *config.Set
	patterns pattern.Set
	rules    []config.Rule
	lines    []*line
	report   config.Report
	// steps are the positions of steps that have an error.
	steps map[string]bool
	// ends are the drafts after all pipelines of a data type.
	ends map[string]*draft
	// counts are of findings in each file.
	counts map[string]int
}

// maxFindings bounds what is said of one file, as it is while files are read.
const maxFindings = 500

// find adds a finding with the severity that its rule has.
func (l *linter) find(rule string, at config.Position, hint, format string, args ...any) {
	r, ok := named[rule]
	if !ok {
		panic("lint: there is no rule " + rule) // every example in docs/check.md is tested
	}
	if l.counts == nil {
		l.counts = map[string]int{}
	}
	switch l.counts[at.File]++; {
	case l.counts[at.File] == maxFindings:
		rule, r = config.RuleTooMany, named[config.RuleTooMany]
		at, hint, format, args = config.Position{File: at.File}, "mend what is listed, and check again", "more findings in this file are not listed", nil
	case l.counts[at.File] > maxFindings:
		return
	}
	l.report = append(l.report, config.Problem{
		Position: at, Severity: r.Severity, Rule: rule, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// line is one pipeline.
type line struct {
	config.Pipeline
	steps []*step
	// drops is the step that lets no log pass; nil if there is none.
	drops *step
}

// pipelines looks at each step by itself.
func (l *linter) pipelines() {
	for _, p := range l.set.Pipelines {
		of := &line{Pipeline: p}
		for _, configured := range p.Steps {
			before := len(l.report)
			s := l.newStep(configured)
			if len(config.Report(l.report[before:]).Errors()) > 0 {
				l.steps[configured.Position.String()] = true
				s.broken = true
			}
			of.steps = append(of.steps, s)
			if s.Kind == "drop" && of.drops == nil && s.unconditional("") {
				of.drops = s
			}
		}
		for _, s := range of.steps {
			if s.Kind == "grok" || s.Kind == "csv" {
				l.repeated(of, s)
			}
		}
		seen := map[string]bool{}
		for i, dataType := range p.DataTypes {
			if seen[dataType] {
				l.find(config.RuleDuplicateValue, p.At("dataTypes", fmt.Sprint(i)).Position, "remove one of them", "data type %q is listed before", dataType)
			}
			seen[dataType] = true
		}
		l.lines = append(l.lines, of)
	}
}

// backstop compiles what a node would compile: what that refuses must not go
// without a finding.
func (l *linter) backstop() {
	_, problems := pipeline.Compile(l.set, pipeline.Options{})
	for _, p := range problems {
		if !l.steps[p.Position.String()] && p.Kind != "" {
			l.find(badStep, p.Position, "", "%v", p.Err)
		}
	}
}

// syntaxFaults reports why an expression does not compile, at its places.
func (l *linter) syntaxFaults(err error, source string, at config.Place, prefix string) {
	syntax, ok := err.(*expr.SyntaxError)
	if !ok {
		l.find(badExpression, at.Offset(0), "", "%s%v", prefix, strings.TrimPrefix(err.Error(), "expression: "))
		return
	}
	for _, f := range syntax.Faults {
		offset, hint := expr.SourceOffset(source, f.Line, f.Column), ""
		parsing := strings.HasPrefix(f.Message, "Syntax error: ")
		if m := badEscape.FindStringIndex(source[offset:]); parsing && m != nil && strings.Contains(f.Message, "token recognition") {
			offset += m[1] - 2
			hint = "in quotes a backslash is written twice: \\\\" + source[offset+1:offset+2]
		}
		message, _, _ := strings.Cut(f.Message, " expecting ")
		if strings.Contains(message, "'<EOF>'") && !strings.Contains(message, "token recognition") {
			message = "Syntax error: the expression ends too early: is a bracket or a quote not closed?"
		}
		l.find(badExpression, at.Offset(offset), hint, "%s%s", prefix, shorten(message))
		if parsing {
			return // what else the parser says is a consequence, mostly
		}
	}
}

// badEscape finds a backslash in quotes that CEL does not know.
var badEscape = regexp.MustCompile(`^[^"\n]?"(?:[^"\\\n]|\\[abfnrtvxuU0-7"'?\x60\\])*\\[^abfnrtvxuU0-7"'?\x60\\]`)

// condition analyses an expression and reports what it finds; nil if it does not
// compile.
func (l *linter) condition(source string, at config.Place) *expr.Analysis {
	a, err := expr.Analyze(source, l.patterns)
	if err != nil {
		l.syntaxFaults(err, source, at, "")
		return nil
	}
	for _, f := range a.Findings {
		hint := f.Hint
		if f.Kind == expr.UnknownPattern {
			hint = l.patternHint(f.Hint)
		}
		l.find(f.Kind, at.Offset(f.Offset), hint, "%s", f.Message)
	}
	return a
}
