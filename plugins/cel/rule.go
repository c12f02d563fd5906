package cel

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// rule is one rule, compiled. It is used by many goroutines at once, and never
// changed.
type rule struct {
	proto    *pb.Rule
	at       config.Position
	key      string // what alert ids derive from
	print    [sha256.Size]byte
	where    *expr.Program // nil: holds always
	searches []search
}

// ruleSet is all rules at one time.
type ruleSet struct {
	byType   map[string]*group
	searches []*search
	terms    []string
	words    []string
	disabled map[uint64]bool
	tenants  map[string]map[uint64]bool // disabled for a tenant
	all      []*rule                    // in the order in which they were read
	count    int

	// Data types that no rule lists come from outside, so only so many are kept.
	kept     sync.Map // data type -> bool: some search may ask for it
	keptSize atomic.Int32
}

// group are the rules of one data type, and what finds those of them that an
// event may fulfil.
type group struct {
	rules    []*rule
	dispatch *expr.Dispatch
	keeps    bool // events of the type are to be kept
}

// compileRules makes a set of those rules that mean something, and says what is
// wrong with the others.
func compileRules(rules []config.Rule, set *config.Set) (*ruleSet, config.Report) {
	rs := &ruleSet{
		byType:   map[string]*group{},
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
		rs.add(c)
	}
	rs.finish()
	return rs, report
}

func (rs *ruleSet) add(r *rule) {
	rs.count++
	rs.all = append(rs.all, r)
	for _, dataType := range slices.Compact(slices.Sorted(slices.Values(r.proto.DataTypes))) {
		g := rs.byType[dataType]
		if g == nil {
			g = &group{}
			rs.byType[dataType] = g
		}
		g.rules = append(g.rules, r)
	}
	for i := range r.searches {
		rs.searches = append(rs.searches, &r.searches[i])
	}
}

// finish works out what needs all rules.
func (rs *ruleSet) finish() {
	terms, words := map[string]bool{}, map[string]bool{}
	for _, s := range rs.searches {
		s.paths(terms, words)
	}
	rs.terms = slices.Sorted(maps.Keys(terms))
	rs.words = slices.Sorted(maps.Keys(words))
	for dataType, g := range rs.byType {
		conditions := make([]*expr.Program, len(g.rules))
		for i, r := range g.rules {
			conditions[i] = r.where
			g.keeps = g.keeps || len(r.searches) > 0 // which need a place
		}
		g.keeps = g.keeps || rs.searched(dataType)
		g.dispatch = expr.NewDispatch(conditions)
	}
}

func compileRule(r config.Rule, patterns map[string]string) (*rule, *config.Problem) {
	c := &rule{proto: r.Proto, at: r.Position, key: ruleKey(r.Proto)}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Proto)
	if err == nil {
		c.print = sha256.Sum256(text)
	}
	if strings.TrimSpace(r.Proto.Where) != "" {
		where, err := expr.Compile(r.Proto.Where, patterns)
		if err != nil {
			return nil, &config.Problem{Position: r.Where, Severity: config.Error, Rule: badExpression, Message: fmt.Sprintf("%swhere: %v", ruleProblem(r.Proto.Name), err)}
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
			return nil, &config.Problem{Position: r.Position, Severity: config.Error, Rule: badSearch, Message: fmt.Sprintf("%s%s[%d]: %v", ruleProblem(r.Proto.Name), key, i, err)}
		}
		c.searches = append(c.searches, s)
	}
	return c, nil
}

// ruleKey is what a rule is known again by: its id or, without one, its name.
func ruleKey(r *pb.Rule) string {
	if r.Id != 0 {
		return "id:" + strconv.FormatUint(r.Id, 10)
	}
	return "name:" + r.Name
}

// maxKept bounds the data types of which it is known whether a search asks for
// them; of others it is worked out each time.
const maxKept = 4096

// keeps reports whether events of a data type are to be kept: a rule may search
// for them, or searches on their behalf, for which they need a place.
func (rs *ruleSet) keeps(dataType string) bool {
	if g := rs.byType[dataType]; g != nil {
		return g.keeps
	}
	if len(rs.searches) == 0 {
		return false
	}
	if v, ok := rs.kept.Load(dataType); ok {
		return v.(bool)
	}
	keeps := rs.searched(dataType)
	if rs.keptSize.Load() < maxKept && rs.keptSize.Add(1) <= maxKept {
		rs.kept.Store(strings.Clone(dataType), keeps)
	}
	return keeps
}

func (rs *ruleSet) searched(dataType string) bool {
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
