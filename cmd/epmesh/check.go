package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/lint"
	"github.com/epmesh/epmesh/plugins/bundled"
)

type checkCmd struct {
	Paths  []string `arg:"" optional:"" name:"path" help:"Files, folders, or work dirs."`
	JSON   bool     `name:"json" xor:"form" help:"Print one JSON object a line."`
	SARIF  bool     `name:"sarif" xor:"form" help:"Print SARIF 2.1.0, which code hosts show beside the lines."`
	Strict bool     `name:"strict" help:"Fail on warnings too."`
	Notes  bool     `name:"notes" help:"Print notes too: what is worth knowing, and no mistake."`
	Ignore []string `name:"ignore" placeholder:"RULE" help:"Leave out what this rule finds; can be repeated."`
	Rules  bool     `name:"rules" help:"List the names of all rules."`
}

func (checkCmd) Help() string {
	return `Finds what is wrong with pipeline files, rules and settings: what does not load, and
what loads and does not do what it seems to. Each finding has the name of a rule. A comment
silences it, on its line or the one before:

  # epmesh:ignore RULE, RULE and a reason

Examples:
  epmesh check /var/lib/epmesh
  epmesh check pipeline/ rules/sshd.yml --strict
  epmesh check . --sarif > epmesh.sarif`
}

func (c *checkCmd) Run(a *app) error {
	if c.Rules {
		return c.list(a)
	}
	for name, hint := range lint.UnknownRules(c.Ignore) {
		return usagef("--ignore: there is no rule %q; %s", name, hint)
	}
	if len(c.Paths) == 0 {
		return usagef("check what? Name files or folders, or . for this folder")
	}
	var t checked
	for _, path := range c.Paths {
		if err := t.take(path); err != nil {
			return usagef("%w", err)
		}
	}
	if t.count == 0 {
		return usagef("no YAML files of epmesh in %s", strings.Join(c.Paths, ", "))
	}
	report := t.check(c.Ignore)
	shown := report
	if !c.Notes {
		shown = append(report.Errors(), report.Warnings()...)
		shown.Sort()
	}
	if err := c.print(a, shown); err != nil {
		return err
	}
	errs, warnings, notes := len(report.Errors()), len(report.Warnings()), len(report.Notes())
	summary := fmt.Sprintf("%s: %s, %s", count(t.count, "file"), count(errs, "error"), count(warnings, "warning"))
	switch {
	case notes > 0 && c.Notes:
		summary += ", " + count(notes, "note")
	case notes > 0:
		summary += fmt.Sprintf(" (%s with --notes)", count(notes, "note"))
	}
	complain(a.stderr, summary)
	if errs > 0 || c.Strict && warnings > 0 {
		return errSilent
	}
	return nil
}

func (c *checkCmd) print(a *app, report config.Report) error {
	switch {
	case c.JSON:
		return printFindings(a.stdout, report)
	case c.SARIF:
		return printSARIF(a.stdout, report)
	}
	for _, p := range report {
		if _, err := fmt.Fprintln(a.stdout, findingLine(p)); err != nil {
			return err
		}
	}
	return nil
}

// findingLine is a finding with the name that silences it.
func findingLine(p config.Problem) string {
	return printable(fmt.Sprintf("%s [%s]", p, p.Rule))
}

func (c *checkCmd) list(a *app) error {
	if c.JSON {
		return printRules(a.stdout)
	}
	for _, r := range lint.Rules() {
		if _, err := fmt.Fprintf(a.stdout, "%-22s %-8s %s\n", r.Name, r.Severity, r.About); err != nil {
			return err
		}
	}
	return nil
}

// check runs the linter over what was taken.
func (t *checked) check(ignore []string) config.Report {
	o := lint.Options{Ignore: ignore, Bundled: bundled.Names(), StripUnderscore: t.strip}
	if t.workDir != "" && !t.others {
		o.Installed = installed(t.workDir)
		o.Settings = func(name, served string) error { return bundled.Check(name, served, t.workDir) }
	}
	return lint.Check(t.Input, o)
}

// checkNode checks all that a node with these settings reads.
func checkNode(a *app, s config.Settings, warnings []config.Problem, settings error) error {
	report := config.Report(warnings)
	if settings != nil {
		complain(a.stderr, report.String())
		return settings // the folders are not known for sure
	}
	t := checked{strip: !s.Pipeline.KeepUnderscores}
	t.Report = report
	t.node(s.Dir, s.PipelineDir(), s.RulesDir())
	report = t.check(nil)
	for _, p := range append(report.Errors(), report.Warnings()...) {
		complain(a.stderr, findingLine(p))
	}
	if n := len(report.Errors()); n > 0 {
		return fmt.Errorf("the configuration of %s has %s", s.Dir, count(n, "error"))
	}
	set, _ := config.InspectPipelines(t.Pipelines)
	rules, _ := config.LoadRules(s.RulesDir())
	fmt.Fprintf(a.stdout, "the configuration of %s is fine: %s, %s, %s\n", s.Dir,
		count(len(set.Pipelines), "pipeline"), count(len(rules), "rule"), count(len(set.Bundled()), "bundled plugin"))
	return nil
}

// exists reports whether there is a folder or file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
