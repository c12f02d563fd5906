package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

// Rules makes what holds events against rules, with the patterns and tenants of
// a configuration. Each call of begin gives one that knows no history; it is used
// by one goroutine, and given events in the order of their times. The report says
// which rules cannot be used.
type Rules func(rules []config.Rule, set *config.Set) (begin func() func(*pb.Event) []*pb.Alert, report config.Report)

// ruleSets are the rules that case files test, each compiled once.
type ruleSets struct {
	mu    sync.Mutex
	byKey map[string]*ruleSet
}

type ruleSet struct {
	once   sync.Once
	begin  func() func(*pb.Event) []*pb.Alert
	names  []string
	ids    map[string]string // to names
	report config.Report
}

// of gives the rules of a case file, nil where no case of it wants alerts.
func (s *ruleSets) of(make Rules, f *config.CaseFile, l *loaded, pipelines string) (*ruleSet, config.Report) {
	if !slices.ContainsFunc(f.Cases, func(c config.Case) bool { return c.Events != nil || c.Want.Alerts != nil }) {
		return nil, nil
	}
	if make == nil {
		return nil, config.Report{{
			Position: config.Position{File: f.Path}, Severity: config.Error,
			Message: "the cases want alerts, and there is nothing here that runs rules",
		}}
	}
	paths, problems := rulePaths(f)
	if problems != nil {
		return nil, problems
	}
	key := pipelines + "\x00\x00" + strings.Join(paths, "\x00")
	s.mu.Lock()
	r := s.byKey[key]
	if r == nil {
		r = &ruleSet{}
		s.byKey[key] = r
	}
	s.mu.Unlock()
	r.once.Do(func() {
		r.ids = map[string]string{}
		rules, report := config.LoadRuleFiles(paths...)
		for _, x := range rules {
			r.names = append(r.names, x.Proto.GetName())
			if id := x.Proto.GetId(); id != 0 {
				r.ids[strconv.FormatUint(id, 10)] = x.Proto.GetName()
			}
		}
		var found config.Report
		r.begin, found = make(rules, l.config)
		r.report = append(report, found...)
	})
	if len(r.names) == 0 {
		return nil, append(r.report.Errors(), config.Problem{
			Position: config.Position{File: f.Path}, Severity: config.Error,
			Message: "there are no rules in " + strings.Join(paths, ", "),
			Hint:    "write rules: and the rule files that the cases are for, as paths from this file's folder",
		})
	}
	return r, nil
}

// rulePaths are the rule files and folders that a case file tests: those it
// names, else the folder that the node would read.
func rulePaths(f *config.CaseFile) ([]string, config.Report) {
	if len(f.Rules) == 0 {
		return []string{rulesFolder(filepath.Dir(f.Path))}, nil
	}
	return named("rules", f.Rules)
}

// rulesFolder is the nearest folder called rules, this one or above it, else the
// one beside the folder called pipeline; without one it is the folder itself.
func rulesFolder(dir string) string {
	if near := nearest(dir, "rules"); near != "" {
		return near
	}
	if near := nearest(dir, "pipeline"); near != "" {
		beside := filepath.Join(filepath.Dir(near), "rules")
		if filepath.Base(near) != "pipeline" { // "." and its like
			beside = filepath.Join(near, "..", "rules")
		}
		if info, err := os.Stat(beside); err == nil && info.IsDir() {
			return beside
		}
	}
	return dir
}

// with adds what is known of the rules, where there are some.
func (o outcome) with(r *ruleSet) outcome {
	if r == nil {
		return o
	}
	o.ids, o.unknown = r.ids, func(rule string) string {
		for _, p := range r.report.Errors() {
			if strings.HasPrefix(p.Message, fmt.Sprintf("rule %q:", rule)) {
				return "the rule has a mistake: " + p.Position.String()
			}
		}
		if r.ids[rule] != "" || slices.Contains(r.names, rule) {
			return ""
		}
		if near := config.Suggest(rule, r.names); near != "" {
			return fmt.Sprintf("no rule is called so; did you mean %q?", near)
		}
		return "no rule is called so"
	}
	return o
}
