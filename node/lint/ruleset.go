package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
)

// allRules looks at the rules, each by itself and against the pipelines.
func (l *linter) allRules() {
	names := map[string]config.Position{}
	ids := map[uint64]bool{}
	for _, r := range l.rules {
		l.rule(r)
		key, at := "name "+strconv.Quote(r.Proto.GetName()), r.At("name").Position
		if id := r.Proto.GetId(); id != 0 {
			key, at, ids[id] = fmt.Sprintf("id %d", id), r.At("id").Position, true
		} else if r.Proto.GetName() == "" {
			continue
		}
		if first, twice := names[key]; twice {
			l.find(duplicateRule, at, "give each rule a name or an id of its own: the ids of alerts derive from it", "a rule with the %s stands in %s already", key, first)
			continue
		}
		names[key] = at
	}
	if len(l.rules) > 0 {
		l.disabled(ids)
	}
}

// disabled checks that what is turned off is there.
func (l *linter) disabled(ids map[uint64]bool) {
	for i, id := range l.set.DisabledRules {
		if !ids[id] {
			l.find(unknownRuleID, l.set.DisabledAt(i), "write id: in the rule, or take the number out", "disabledRules lists %d, and no rule has that id", id)
		}
	}
}

func (l *linter) rule(r config.Rule) {
	p := r.Proto
	var where *expr.Analysis
	if strings.TrimSpace(p.GetWhere()) != "" {
		at := r.At("where")
		if where = l.condition(p.GetWhere(), at); where != nil {
			for _, read := range where.Reads {
				l.eventField(read.Path, at.Offset(read.Offset), "where")
			}
			l.possible(r, where)
		}
	}
	for i, dataType := range p.GetDataTypes() {
		at := r.At("dataTypes", strconv.Itoa(i)).Position
		if slices.Contains(p.GetDataTypes()[:i], dataType) {
			l.find(config.RuleDuplicateValue, at, "remove one of them", "data type %q is listed before", dataType)
		}
		if len(l.lines) > 0 && !l.lists(dataType) {
			l.dataType(dataType, at, "no pipeline lists the data type %q")
		}
	}
	for _, key := range []string{"groupBy", "deduplicateBy"} {
		paths := p.GetGroupBy()
		if key == "deduplicateBy" {
			paths = p.GetDeduplicateBy()
		}
		for i, path := range paths {
			at := r.At(key, strconv.Itoa(i)).Position
			l.alertField(path, at, key, p.GetAdversary())
			if slices.Contains(paths[:i], path) {
				l.find(config.RuleDuplicateValue, at, "remove one of them", "%s: %q is listed before", key, path)
			}
		}
	}
	l.searches(r, where)
}

// dataType reports a data type that no pipeline lists.
func (l *linter) dataType(dataType string, at config.Position, format string) {
	if near := config.Suggest(dataType, l.dataTypes()); near != "" && fold(near) == fold(dataType) {
		l.find(misspeltDataType, at, `did you mean "`+near+`"?`, format, dataType)
		return
	}
	l.find(unknownDataType, at, "", format, dataType)
}

// eventField checks a path into an event.
func (l *linter) eventField(path string, at config.Position, what string) {
	if strings.ContainsAny(path, `\*?#|`) || path == "" {
		return
	}
	if is, hint := schema(eventType, strings.TrimSuffix(path, ".keyword")); is == unknownShape {
		l.find(unknownField, at, hint, "%s: %s is not in the common schema, so no event has it", what, path)
	}
}

// alertField checks a path into an alert, where lastEvent is the event.
func (l *linter) alertField(path string, at config.Position, what, adversary string) {
	if rest, ok := strings.CutPrefix(path, "lastEvent."); ok {
		l.eventField(rest, at, what)
		return
	}
	is, hint := schema(alertType, strings.TrimSuffix(path, ".keyword"))
	if is != unknownShape {
		return
	}
	first, rest, _ := strings.Cut(path, ".")
	if known, _ := schema(eventType, path); known != unknownShape {
		hint = fmt.Sprintf("write lastEvent.%s", path)
		if first == "origin" {
			side := "adversary"
			if adversary == "target" {
				side = "target"
			}
			hint = fmt.Sprintf("did you mean %s.%s, or lastEvent.%s?", side, rest, path)
		}
		l.find(unknownField, at, hint, "%s: an alert has no %s: that is a field of the event", what, path)
		return
	}
	l.find(unknownField, at, hint, "%s: an alert has no %s", what, path)
}

// possible finds conditions that no event of the pipelines that are checked can
// fulfil: for each data type something they need is not there at the end.
func (l *linter) possible(r config.Rule, where *expr.Analysis) {
	if r.Partial || len(r.Proto.GetDataTypes()) == 0 || slices.ContainsFunc(where.Findings, func(f expr.Finding) bool { return f.Kind == expr.AlwaysFalse }) {
		return
	}
	var never, other func()
	for _, dataType := range r.Proto.GetDataTypes() {
		end := l.ends[dataType]
		if end == nil {
			return // nothing is known of these events
		}
		missing := func(path string) bool {
			is, _ := schema(eventType, path)
			return is != unknownShape && !eventAlways[path] && !end.mayExist(path)
		}
		culprit := -1
		for i, read := range where.Reads {
			if sibling := end.sibling(read.Path); sibling != "" && other == nil {
				other = func() {
					l.find(misspeltField, r.At("where").Offset(read.Offset), `did you mean "`+sibling+`"?`, "where: no pipeline of %s writes %s, but %s writes %s", dataType, read.Path, end.written.at[sibling], sibling)
				}
			}
			if culprit < 0 && missing(read.Path) && !where.MayHoldWithout(func(p string) bool { return p == read.Path }) {
				culprit = i
			}
		}
		if culprit < 0 {
			never = nil
			break
		}
		read := where.Reads[culprit]
		if never == nil {
			never = func() {
				at := r.At("where").Offset(read.Offset)
				if g, was := end.isGone(read.Path); was {
					l.find(deletedField, at, "let the pipeline keep it, or look at another field", "where is never true: events of %s have no %s: %s of %s", dataType, read.Path, g, g.at.File)
				} else {
					l.find(unwrittenField, at, "", "where is never true: no pipeline of %s writes %s", dataType, read.Path)
				}
			}
		}
	}
	if never != nil {
		never()
	} else if other != nil {
		other()
	}
}

// eventAlways are the fields that events have whatever the pipelines do.
var eventAlways = map[string]bool{"deviceTime": true, "tenantName": true, "errors": true}
