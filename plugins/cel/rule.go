package cel

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
)

// rule is one rule, compiled. It is used by many goroutines at once.
type rule struct {
	proto    *pb.Rule
	at       config.Position
	key      string // what alert ids derive from
	where    *expr.Program
	searches []search
	failures atomic.Uint64
}

// ruleSet is all rules at one time.
type ruleSet struct {
	byType   map[string][]*rule
	searches []*search
	terms    []string
	others   []string
	disabled map[uint64]bool
	tenants  map[string]map[uint64]bool // disabled for a tenant
	count    int
}

// compileRules makes a set of those rules that mean something, and says what is
// wrong with the others.
func compileRules(rules []config.Rule, set *config.Set) (*ruleSet, config.Report) {
	rs := &ruleSet{
		byType:   map[string][]*rule{},
		disabled: ids(set.DisabledRules),
		tenants:  map[string]map[uint64]bool{},
	}
	for _, t := range set.Tenants {
		if len(t.DisabledRules) > 0 && rs.tenants[t.Id] == nil {
			rs.tenants[t.Id] = ids(t.DisabledRules)
		}
	}
	var report config.Report
	names := map[string]config.Position{}
	terms, others := map[string]bool{}, map[string]bool{}
	for _, r := range rules {
		c, problem := compileRule(r, set.Patterns)
		if problem != nil {
			report = append(report, *problem)
			continue
		}
		if first, twice := names[c.key]; twice {
			report = append(report, config.Problem{
				Position: r.Position, Severity: config.Error, Rule: "duplicate-rule",
				Message: fmt.Sprintf("the rule %q stands in %s already", r.Proto.Name, first),
				Hint:    "give each rule a name or an id of its own: the ids of alerts derive from it",
			})
			continue
		}
		names[c.key] = r.Position
		rs.count++
		for _, dataType := range slices.Compact(slices.Sorted(slices.Values(r.Proto.DataTypes))) {
			rs.byType[dataType] = append(rs.byType[dataType], c)
		}
		for i := range c.searches {
			rs.searches = append(rs.searches, &c.searches[i])
			c.searches[i].paths(terms, others)
		}
	}
	rs.terms = slices.Sorted(maps.Keys(terms))
	rs.others = slices.Sorted(maps.Keys(others))
	rs.others = slices.DeleteFunc(rs.others, func(p string) bool { return terms[p] })
	return rs, report
}

func compileRule(r config.Rule, patterns map[string]string) (*rule, *config.Problem) {
	c := &rule{proto: r.Proto, at: r.Position, key: "name:" + r.Proto.Name}
	if r.Proto.Id != 0 {
		c.key = "id:" + strconv.FormatUint(r.Proto.Id, 10)
	}
	if strings.TrimSpace(r.Proto.Where) != "" {
		where, err := expr.Compile(r.Proto.Where, patterns)
		if err != nil {
			return nil, &config.Problem{Position: r.Where, Severity: config.Error, Rule: "bad-expression", Message: fmt.Sprintf("rule %q: where: %v", r.Proto.Name, err)}
		}
		c.where = where
	}
	key, requests := "correlation", r.Proto.Correlation
	if len(requests) == 0 {
		key, requests = "afterEvents", r.Proto.AfterEvents
	}
	budget := config.MaxSearches
	for i, request := range requests {
		s, err := newSearch(request, &budget)
		if err != nil {
			return nil, &config.Problem{Position: r.Position, Severity: config.Error, Rule: "bad-search", Message: fmt.Sprintf("rule %q: %s[%d]: %v", r.Proto.Name, key, i, err)}
		}
		c.searches = append(c.searches, s)
	}
	return c, nil
}

// keeps reports whether events of a data type are to be kept: a rule may search
// for them, or searches on their behalf, for which they need a place.
func (rs *ruleSet) keeps(dataType string) bool {
	if slices.ContainsFunc(rs.byType[dataType], func(r *rule) bool { return len(r.searches) > 0 }) {
		return true
	}
	return slices.ContainsFunc(rs.searches, func(s *search) bool { return s.covers(dataType) })
}

// isDisabled reports whether a rule is turned off, for all or for a tenant.
func (rs *ruleSet) isDisabled(r *rule, tenant string) bool {
	id := r.proto.Id
	return id != 0 && (rs.disabled[id] || rs.tenants[tenant][id])
}

func ids(list []uint64) map[uint64]bool {
	m := make(map[uint64]bool, len(list))
	for _, id := range list {
		m[id] = true
	}
	return m
}
