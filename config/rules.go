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
	"google.golang.org/protobuf/proto"
)

// Rule is one analysis rule and where it stands. It decoded without an error;
// whether its expressions mean something is for who runs it to say.
type Rule struct {
	Position Position
	// Where is the position of the rule's condition.
	Where Position
	Proto *pb.Rule
}

// LoadRules reads every file whose name ends in .yml or .yaml below a rules
// folder, in natural order of the base names across folders. A file holds one
// rule or a list of them. A rule with an error is left out and in the report; it
// stops no other. A folder that is not there holds no rules.
func LoadRules(dir string) ([]Rule, Report) {
	var rules []Rule
	var report Report
	var files []string
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, e fs.DirEntry, err error) error {
		path = filepath.Clean(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			report = append(report, Problem{Position: Position{File: path}, Severity: Error, Message: "cannot read the folder: " + reason(err).Error()})
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
		report = append(report, Problem{Position: Position{File: dir}, Severity: Error, Message: "cannot list the folder: " + err.Error()})
	}
	slices.SortFunc(files, func(a, b string) int {
		if c := natural(filepath.Base(a), filepath.Base(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, path := range files {
		info, err := os.Stat(path)
		var data []byte
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && !info.Mode().IsRegular():
			err = errors.New("it is no regular file")
		case err == nil && info.Size() > maxFileSize:
			err = fmt.Errorf("it is larger than %s", Size(maxFileSize))
		case err == nil:
			data, err = os.ReadFile(path)
		}
		if err != nil {
			report = append(report, Problem{Position: Position{File: path}, Severity: Error, Message: "cannot read the file: " + reason(err).Error()})
			continue
		}
		more, found := ParseRules(path, data)
		rules, report = append(rules, more...), append(report, found...)
	}
	return rules, report
}

// ParseRules reads one rule file's text as LoadRules does; name stands in
// positions.
func ParseRules(name string, data []byte) ([]Rule, Report) {
	d := newRuleDecoder(name)
	root := d.parse(data)
	if root == nil {
		if !d.failed {
			d.add(Warning, 1, 1, "", "the file is empty")
		}
		return nil, d.sorted()
	}
	if root = behind(root); root.Kind != yaml.SequenceNode {
		r, report := decodeRule(name, root)
		return r, append(d.sorted(), report...)
	}
	var rules []Rule
	report := d.sorted()
	for _, n := range root.Content {
		r, found := decodeRule(name, behind(n))
		rules, report = append(rules, r...), append(report, found...)
	}
	return rules, report
}

// decodeRule reads one rule with findings of its own, so that its errors are
// no other's.
func decodeRule(file string, n *yaml.Node) ([]Rule, Report) {
	d := newRuleDecoder(file)
	r := Rule{Proto: &pb.Rule{}, Position: Position{File: file, Line: n.Line, Column: n.Column}}
	r.Where = r.Position
	d.message(r.Proto.ProtoReflect(), n, "", 0)
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; n.Content[i].Value == "where" {
				r.Where = Position{File: file, Line: v.Line, Column: v.Column}
			}
		}
		d.checkRule(r)
	}
	if d.failed {
		return nil, d.sorted()
	}
	return []Rule{r}, d.sorted()
}

func newRuleDecoder(file string) *decoder {
	d := &decoder{at: make(map[proto.Message]Position), place: make(map[string]Position)}
	d.file, d.lax = file, Warning
	return d
}

// checkRule finds what makes a rule of no use.
func (d *decoder) checkRule(r Rule) {
	at, p := r.Position, r.Proto
	if strings.TrimSpace(p.Name) == "" {
		d.add(Error, at.Line, at.Column, "write name: what the alert is to be called", "the rule has no name")
	}
	if len(p.DataTypes) == 0 {
		d.add(Error, at.Line, at.Column, "write dataTypes: [the type of the events]", "the rule has no dataTypes, so it never runs")
	}
	if strings.TrimSpace(p.Where) == "" {
		d.add(Warning, at.Line, at.Column, "", "the rule has no where: it holds for every event of its data types")
	}
	if !slices.Contains([]string{"", "origin", "target"}, p.Adversary) {
		d.add(Error, at.Line, at.Column, "", "adversary is %q, want origin or target", p.Adversary)
	}
	for name, n := range map[string]uint32{
		"confidentiality": p.Impact.GetConfidentiality(),
		"integrity":       p.Impact.GetIntegrity(),
		"availability":    p.Impact.GetAvailability(),
	} {
		if n > 3 {
			d.add(Error, at.Line, at.Column, "", "impact.%s is %d, want 0 to 3", name, n)
		}
	}
	if len(p.AfterEvents) > 0 && len(p.Correlation) > 0 {
		d.add(Warning, at.Line, at.Column, "leave afterEvents out", "correlation and afterEvents are the same under two names; only correlation counts")
	}
}
