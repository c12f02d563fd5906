package lint

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
)

// comment is one that silences rules.
type comment struct {
	at    config.Position
	file  bool // it is for the whole file
	rules []string
	used  []bool
}

// marker is such a comment: the names of rules with commas between, and then
// whatever else there is to say.
var marker = regexp.MustCompile(`(?:^|\s)#\s*epmesh:(ignore-file|ignore)\b[ \t]*([A-Za-z0-9_-]+(?:[ \t]*,[ \t]*[A-Za-z0-9_-]+)*)?`)

// comments finds those of a file.
func comments(f config.Source) []*comment {
	if !bytes.Contains(f.Data, []byte("epmesh:ignore")) {
		return nil
	}
	var found []*comment
	number := 0
	for line := range bytes.Lines(f.Data) {
		number++
		m := marker.FindSubmatchIndex(line)
		if m == nil {
			continue
		}
		c := &comment{
			at:   config.Position{File: f.Name, Line: number, Column: 1 + utf8.RuneCount(line[:bytes.IndexByte(line[m[0]:], '#')+m[0]])},
			file: string(line[m[2]:m[3]]) == "ignore-file",
		}
		if m[4] >= 0 {
			for name := range strings.SplitSeq(string(line[m[4]:m[5]]), ",") {
				c.rules = append(c.rules, strings.TrimSpace(name))
			}
		}
		c.used = make([]bool, len(c.rules))
		found = append(found, c)
	}
	return found
}

// silence leaves out what comments and options do not want, and tells of
// comments that are of no use.
func (l *linter) silence(in Input) config.Report {
	byFile := map[string][]*comment{}
	for _, list := range [][]config.Source{in.Pipelines, in.Rules, in.Others} {
		for _, f := range list {
			if byFile[f.Name] == nil {
				byFile[f.Name] = comments(f)
			}
		}
	}
	var kept config.Report
	for _, p := range l.report {
		if !silenced(byFile[p.Position.File], p) {
			kept = append(kept, p)
		}
	}
	before := len(l.report)
	for _, list := range byFile {
		for _, c := range list {
			l.unused(c)
		}
	}
	for _, p := range l.report[before:] {
		if !silenced(byFile[p.Position.File], p) {
			kept = append(kept, p)
		}
	}
	return slices.DeleteFunc(kept, func(p config.Problem) bool { return slices.Contains(l.options.Ignore, p.Rule) })
}

func silenced(list []*comment, p config.Problem) bool {
	is := false
	for _, c := range list {
		if !c.file && (p.Position.Line == 0 || c.at.Line != p.Position.Line && c.at.Line != p.Position.Line-1) {
			continue
		}
		if i := slices.Index(c.rules, p.Rule); i >= 0 {
			c.used[i], is = true, true
		}
	}
	return is
}

func (l *linter) unused(c *comment) {
	if len(c.rules) == 0 {
		l.find(unknownRule, c.at, "write # epmesh:ignore and the names of rules; epmesh check --rules lists them", "the comment names no rule")
	}
	for i, name := range c.rules {
		if _, ok := named[name]; !ok {
			l.find(unknownRule, c.at, didYouMeanRule(name), "there is no rule %q", name)
		} else if !c.used[i] && name != unusedIgnore && !slices.Contains(l.options.Ignore, name) && (l.options.Installed != nil || !acrossFiles[name]) {
			l.find(unusedIgnore, c.at, "remove it", "the comment silences nothing: %s is not found here", name)
		}
	}
}

// acrossFiles are the rules that may find something only where all files of a
// work dir are checked together.
var acrossFiles = map[string]bool{
	unknownPlugin: true, badPluginSettings: true, unknownDataType: true, misspeltDataType: true, deletedField: true, unwrittenField: true,
	misspeltField: true, unknownField: true, duplicateRule: true, unknownRuleID: true, duplicatePipeline: true, shadowedPipeline: true,
	overlappingPipeline: true, wrongFieldType: true, uncheckedNumber: true,
	expr.UnknownPattern: true, config.RuleReplacedKey: true, config.RuleFileNotRead: true,
}

func didYouMeanRule(name string) string {
	if near := config.Suggest(name, ruleNames()); near != "" {
		return `did you mean "` + near + `"?`
	}
	return "epmesh check --rules lists them"
}

// UnknownRules are those of some names that no rule bears, each with a hint.
func UnknownRules(names []string) map[string]string {
	unknown := map[string]string{}
	for _, name := range names {
		if _, ok := named[name]; !ok {
			unknown[name] = didYouMeanRule(name)
		}
	}
	return unknown
}
