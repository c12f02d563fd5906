package cel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
)

// carryOver takes from the set before the rules that have a mistake now, and
// those of files that cannot be read any more, and gives them: a slip of an
// editor turns off no detection.
func (rs *ruleSet) carryOver(before *ruleSet, report config.Report) []*rule {
	if before == nil {
		return nil
	}
	there := map[string]bool{}
	for _, r := range rs.all {
		there[r.key] = true
	}
	partial := partialRules(report)
	var kept []*rule
	for _, r := range before.all {
		if there[r.key] {
			continue
		}
		if partial[r.key] || slices.ContainsFunc(report, func(p config.Problem) bool { return p.Severity == config.Error && concerns(p, r) }) {
			rs.add(r)
			kept = append(kept, r)
		}
	}
	if kept != nil {
		rs.finish()
	}
	return kept
}

// concerns reports whether a problem is why a rule that was there is not any
// more: its file cannot be read, or it is the one with the mistake.
func concerns(p config.Problem, r *rule) bool {
	switch p.Rule {
	case config.RuleSyntax, config.RuleFileNotRead, config.RuleTooLarge:
		return p.Position.File == r.at.File
	case badExpression, badSearch:
		return strings.HasPrefix(p.Message, ruleProblem(r.proto.Name))
	}
	return false
}

// ruleProblem begins what is said of a rule that does not compile.
func ruleProblem(name string) string { return fmt.Sprintf("rule %q: ", name) }

const (
	badExpression = "bad-expression"
	badSearch     = "bad-search"
)

// partialRules are the rules in files with errors of which only a part can be
// read.
func partialRules(report config.Report) map[string]bool {
	keys, seen := map[string]bool{}, map[string]bool{}
	for _, p := range report.Errors() {
		file := p.Position.File
		if seen[file] {
			continue
		}
		seen[file] = true
		source, err := config.ReadSource(file)
		if err != nil {
			continue
		}
		rules, _ := config.InspectRules(source)
		for _, r := range rules {
			if r.Partial {
				keys[ruleKey(r.Proto)] = true
			}
		}
	}
	return keys
}
