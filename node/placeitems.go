package node

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

// placing places the items of one consumer by their dataType and tenant. Before
// it is given rules it takes all.
type placing struct {
	groups []string
	rules  atomic.Pointer[placeRules]
}

// placeRules are what one configuration says of one consumer.
type placeRules struct {
	rules []placeRule
	// asked are the demands that items can have, by token, and whether this node
	// meets them.
	asked map[string]bool
}

type placeRule struct {
	tenant, dataType string // tokens, or "" for all
	groups           []string
	met              bool
}

// set changes the rules.
func (p *placing) set(rules []config.Placement) {
	if len(rules) == 0 {
		p.rules.Store(nil)
		return
	}
	s := &placeRules{asked: map[string]bool{}}
	tenants, dataTypes := []string{""}, []string{""} // no token is empty: none that is named
	for _, r := range rules {
		rule := placeRule{groups: slices.Compact(slices.Sorted(slices.Values(r.Groups))), met: r.Admits(p.groups)}
		if r.Tenant != "" {
			rule.tenant = bridge.Token(r.Tenant)
			tenants = append(tenants, rule.tenant)
		}
		if r.DataType != "" {
			rule.dataType = bridge.Token(r.DataType)
			dataTypes = append(dataTypes, rule.dataType)
		}
		s.rules = append(s.rules, rule)
	}
	for _, tenant := range tenants {
		for _, dataType := range dataTypes {
			if demand, met := s.demand(tenant, dataType); demand != "" {
				s.asked[bridge.Token(demand)] = met
			}
		}
	}
	p.rules.Store(s)
}

// demand is what the rules ask of a node for an item, in one form whatever their
// order: the groups of each rule with commas, the rules with "&". met: this node
// is such a one.
func (s *placeRules) demand(tenant, dataType string) (demand string, met bool) {
	met = true
	var all []string
	for _, r := range s.rules {
		if r.about(tenant, dataType) {
			met = met && r.met
			all = append(all, strings.Join(r.groups, ","))
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "&"), met
}

func (r *placeRule) about(tenant, dataType string) bool {
	return (r.tenant == "" || r.tenant == tenant) && (r.dataType == "" || r.dataType == dataType)
}

// may reports whether this node may take items of a subject.
func (p *placing) may(subject string) bool {
	s := p.rules.Load()
	return s == nil || s.may(bridge.Origin(subject))
}

func (s *placeRules) may(tenant, dataType string) bool {
	return !slices.ContainsFunc(s.rules, func(r placeRule) bool { return !r.met && r.about(tenant, dataType) })
}

// elsewhere is what an item demands of a node where this is not such a one.
func (p *placing) elsewhere(subject string) string {
	s := p.rules.Load()
	if s == nil {
		return ""
	}
	tenant, dataType := bridge.Origin(subject)
	if s.may(tenant, dataType) {
		return ""
	}
	demand, _ := s.demand(tenant, dataType)
	return demand
}

// takes reports whether this node works off what waits under a demand: where it
// meets it, and where the configuration asks no such thing, as after a rule was
// taken out. Then it looks what the items demand now.
func (p *placing) takes(token string) bool {
	s := p.rules.Load()
	if s == nil {
		return true
	}
	met, asked := s.asked[token]
	return met || !asked
}

// bridge is what the bridge asks.
func (p *placing) bridge() *bridge.Placing {
	return &bridge.Placing{Elsewhere: p.elsewhere, Takes: p.takes}
}
