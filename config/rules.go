package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
)

// Rule is one analysis rule and where it stands. It decoded without an error;
// whether its expressions mean something is for who runs it to say.
type Rule struct {
	Position Position
	// Where is the position of the rule's condition.
	Where Position
	Proto *pb.Rule
	// Partial tells that the rule has errors, so that things may be missing. Only
	// InspectRules gives such rules.
	Partial bool

	place *Place
}

// At is where something in the rule stands, such as At("groupBy", "0").
func (r Rule) At(path ...string) Place { return placeIn(r.place, r.Position, path) }

// LoadRules reads every file whose name ends in .yml or .yaml below a rules
// folder, in natural order of the base names across folders. A file holds one
// rule or a list of them. A rule with an error is left out and in the report; it
// stops no other. A folder that is not there holds no rules. Files of cases are
// passed over.
func LoadRules(dir string) ([]Rule, Report) {
	var rules []Rule
	sources, report := RuleFiles(dir)
	for _, s := range sources {
		more, found := ParseRules(s.Name, s.Data)
		rules, report = append(rules, more...), append(report, found...)
	}
	return rules, report
}

// LoadRuleFiles reads rule files in the order given, and folders as LoadRules
// does. A path that is not there is an error in the report.
func LoadRuleFiles(paths ...string) ([]Rule, Report) {
	var rules []Rule
	var report Report
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			more, found := LoadRules(path)
			rules, report = append(rules, more...), append(report, found...)
			continue
		}
		data, err := readFile(path)
		if err != nil {
			report = append(report, Problem{
				Position: Position{File: path}, Severity: Error, Rule: RuleFileNotRead,
				Message: "cannot read the file: " + reason(err).Error(), Hint: "name a file, or a folder, of rules",
			})
			continue
		}
		more, found := ParseRules(path, data)
		rules, report = append(rules, more...), append(report, found...)
	}
	return rules, report
}

// RuleFiles are the files that LoadRules reads, in its order, and what it says
// about the others.
func RuleFiles(dir string) ([]Source, Report) {
	var report Report
	var files []string
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, e fs.DirEntry, err error) error {
		path = filepath.Clean(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			report = append(report, Problem{Position: Position{File: path}, Severity: Error, Rule: RuleFileNotRead, Message: "cannot read the folder: " + reason(err).Error()})
			return fs.SkipDir
		case e.IsDir() || !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(path)):
			return nil
		case len(files) == maxFiles:
			return fmt.Errorf("more than %d files", maxFiles)
		}
		files = append(files, path)
		return nil
	})
	if err != nil {
		report = append(report, Problem{Position: Position{File: dir}, Severity: Error, Rule: RuleFileNotRead, Message: "cannot list the folder: " + err.Error()})
	}
	slices.SortFunc(files, func(a, b string) int {
		if c := natural(filepath.Base(a), filepath.Base(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	var sources []Source
	for _, path := range files {
		data, err := readFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case isCases(path):
			// The reference engine would read it, so rules must not get lost unnoticed.
			if err == nil && holds(data) == RuleFile {
				report = append(report, Problem{
					Position: Position{File: path}, Severity: Warning, Rule: RuleFileNotRead,
					Message: "the rules in this file are not read: its name is that of a file of cases, for epmesh test",
					Hint:    "rename it so that it does not end in " + CaseSuffix,
				})
			}
		case err != nil:
			report = append(report, Problem{Position: Position{File: path}, Severity: Error, Rule: RuleFileNotRead, Message: "cannot read the file: " + reason(err).Error()})
		default:
			sources = append(sources, Source{path, data})
		}
	}
	return sources, report
}

// ParseRules reads one rule file's text as LoadRules does; name stands in
// positions.
func ParseRules(name string, data []byte) ([]Rule, Report) { return parseRules(name, data, nil) }

// parseRules keeps places and rules with errors where it is given the text for
// places.
func parseRules(name string, data []byte, text *sourceText) ([]Rule, Report) {
	d := newDecoder(name)
	root := d.parse(data)
	if root == nil {
		if !d.failed {
			d.add(RuleEmptyFile, Warning, 1, 1, "", "the file is empty")
		}
		return nil, d.sorted()
	}
	if root = behind(root); root.Kind != yaml.SequenceNode {
		r, report := decodeRule(name, root, text)
		return r, append(d.sorted(), report...)
	}
	var rules []Rule
	report := d.sorted()
	for _, n := range root.Content {
		r, found := decodeRule(name, behind(n), text)
		rules, report = append(rules, r...), append(report, found...)
	}
	return rules, report
}

// decodeRule reads one rule with findings of its own, so that its errors are
// no other's.
func decodeRule(file string, n *yaml.Node, text *sourceText) ([]Rule, Report) {
	d := newDecoder(file)
	r := Rule{Proto: &pb.Rule{}, Position: Position{File: file, Line: n.Line, Column: n.Column}}
	r.Where = r.Position
	d.message(r.Proto.ProtoReflect(), n, "", 0)
	if text != nil {
		at := text.place(n)
		r.place = &at
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; n.Content[i].Value == "where" {
				r.Where = Position{File: file, Line: v.Line, Column: v.Column}
			}
		}
		d.checkRule(r, n)
	}
	if r.Partial = d.failed; r.Partial && text == nil {
		return nil, d.sorted()
	}
	return []Rule{r}, d.sorted()
}

// checkRule finds what makes a rule of no use.
func (d *decoder) checkRule(r Rule, n *yaml.Node) {
	at, p := r.Position, r.Proto
	// Of what is there and cannot be read that is said already.
	missing := func(key string) bool {
		v := child(n, key, true)
		return v == nil || !slices.ContainsFunc(d.report, func(p Problem) bool {
			return p.Severity == Error && p.Position.Line == v.Line && p.Position.Column == v.Column
		})
	}
	if strings.TrimSpace(p.Name) == "" && missing("name") {
		d.add(RuleIncompleteRule, Error, at.Line, at.Column, "write name: what the alert is to be called", "the rule has no name")
	}
	if len(p.DataTypes) == 0 && missing("dataTypes") {
		d.add(RuleNoDataTypes, Error, at.Line, at.Column, "write dataTypes: [the type of the events]", "the rule has no dataTypes, so it never runs")
	}
	if strings.TrimSpace(p.Where) == "" && missing("where") {
		d.add(RuleIncompleteRule, Warning, at.Line, at.Column, "", "the rule has no where: it holds for every event of its data types")
	}
	if !slices.Contains([]string{"", "origin", "target"}, p.Adversary) {
		at := r.At("adversary")
		d.add(RuleBadValue, Error, at.Line, at.Column, "", "adversary is %q, want origin or target", p.Adversary)
	}
	for name, n := range map[string]uint32{
		"confidentiality": p.Impact.GetConfidentiality(),
		"integrity":       p.Impact.GetIntegrity(),
		"availability":    p.Impact.GetAvailability(),
	} {
		if n > 3 {
			at := r.At("impact", name)
			d.add(RuleBadValue, Error, at.Line, at.Column, "", "impact.%s is %d, want 0 to 3", name, n)
		}
	}
	if len(p.AfterEvents) > 0 && len(p.Correlation) > 0 {
		at := r.At("afterEvents")
		d.add(RuleIgnoredKey, Warning, at.Line, at.Column, "leave afterEvents out", "correlation and afterEvents are the same under two names; only correlation counts")
	}
}
