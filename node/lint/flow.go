package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
)

// maxVisits bounds how many steps are gone through, all data types together.
const maxVisits = 1 << 20

// maxCost bounds the fields that are looked at for that.
const maxCost = 1 << 23

// maxHints bounds the searches for a name that may be meant.
const maxHints = 500

// flows follows the fields through all pipelines of each data type, as a log
// meets them. A finding counts only if it holds for every data type of the
// pipeline.
func (l *linter) flows() {
	l.ends = map[string]*draft{}
	ways := map[string][]int{} // the pipelines by data type
	for i, of := range l.lines {
		if of.Partial {
			continue // something may be missing
		}
		for _, dataType := range slices.Compact(slices.Sorted(slices.Values(of.DataTypes))) {
			ways[dataType] = append(ways[dataType], i)
		}
	}
	partial := map[string]bool{}
	for _, of := range l.lines {
		for _, dataType := range of.DataTypes {
			partial[dataType] = partial[dataType] || of.Partial
		}
	}
	f := flow{linter: l, counts: map[finding]int{}, runs: make([]int, len(l.lines))}
	done := map[string]*draft{}
	for _, dataType := range slices.Sorted(maps.Keys(ways)) {
		if partial[dataType] {
			continue
		}
		key := fmt.Sprint(ways[dataType])
		if done[key] == nil {
			if f.exhausted() {
				break
			}
			done[key] = f.follow(ways[dataType])
		}
		l.ends[dataType] = done[key]
	}
	for _, found := range f.order {
		if f.counts[found] == f.runs[found.line] {
			l.find(found.rule, found.at, found.hint, "%s", found.message)
		}
	}
}

// finding is one that may hold for some data types only.
type finding struct {
	line          int
	rule          string
	at            config.Position
	message, hint string
}

// flow gathers the findings of all ways.
type flow struct {
	*linter
	counts map[finding]int
	order  []finding
	runs   []int // ways that go through each pipeline
	visits int
	cost   int
	hints  int

	line  int
	seen  map[finding]bool // in this way
	draft *draft
}

func (f *flow) exhausted() bool { return f.visits > maxVisits || f.cost > maxCost }

func (f *flow) find(rule string, at config.Position, hint, format string, args ...any) {
	found := finding{f.line, rule, at, fmt.Sprintf(format, args...), hint}
	if f.seen[found] {
		return
	}
	if len(f.seen) > 4*maxFindings {
		return
	}
	f.seen[found] = true
	if f.counts[found]++; f.counts[found] == 1 {
		f.order = append(f.order, found)
	}
}

// follow goes one way and gives the draft at its end.
func (f *flow) follow(way []int) *draft {
	f.draft, f.seen = newDraft(), map[finding]bool{}
	later := f.later(way)
	for n, i := range way {
		f.line = i
		f.runs[i]++
		of := f.lines[i]
		for j, s := range of.steps {
			f.visits++
			f.cost += len(s.reads) + len(s.writes) + len(s.removes)
			if s.log {
				f.cost += len(f.draft.values)
			}
			if f.exhausted() {
				return f.draft
			}
			f.read(s)
			f.vanishing(s, later, n, j)
			f.apply(s)
		}
	}
	f.types()
	return f.draft
}

// uses are the places, as numbers that grow along a way, at which a path is last
// read, moved or deleted.
type uses map[string]int

const stepsInLine = 1 << 20

func (f *flow) later(way []int) uses {
	last := uses{}
	for n, i := range way {
		for j, s := range f.lines[i].steps {
			at := n*stepsInLine + j
			for _, list := range [][]use{s.reads, s.removes} {
				for _, u := range list {
					last[u.path] = at
				}
			}
			if s.where != nil {
				for _, r := range s.where.Reads {
					last[r.Path] = at
				}
			}
		}
	}
	return last
}

// vanishing finds fields that are written outside of the common schema and not
// used by a later step.
func (f *flow) vanishing(s *step, last uses, n, j int) {
	for _, w := range s.writes {
		if within(w.path, "log") {
			continue
		}
		is, hint := schema(eventType, w.path)
		if is != unknownShape {
			continue
		}
		used := false
		for p := range above(w.path) {
			used = used || last[p] > n*stepsInLine+j
		}
		if !used && !s.inPlace() {
			f.find(unknownField, w.at, hint, "%s is not in the common schema: what is written there vanishes from the event", w.path)
		}
	}
}

// inPlace reports whether a step only changes fields that others wrote.
func (s *step) inPlace() bool { return s.Kind == "cast" || s.Kind == "trim" || s.Kind == "reformat" }

// read checks what a step looks at against what can be there.
func (f *flow) read(s *step) {
	f.condition(s)
	for _, r := range s.reads {
		f.field(s, r)
	}
}

func (f *flow) field(s *step, r use) {
	d := f.draft
	if is, hint := schema(eventType, r.path); is == unknownShape && !within(r.path, "log") && !envelope[r.path] && !d.named(r.path) {
		if _, was := d.isGone(r.path); !was {
			f.find(unknownField, r.at, hint, "%s: %s is not in the common schema, and nothing before this step writes it", s.Kind, r.path)
			return
		}
	}
	if d.mayExist(r.path) {
		if other := d.sibling(r.path); other != "" && !s.writesFold(r.path) {
			f.find(misspeltField, r.at, `did you mean "`+other+`"?`, "%s: no step writes %s, but %s is written in line %d", s.Kind, r.path, other, d.written.at[other].Line)
		}
		return
	}
	if g, was := d.isGone(r.path); was {
		f.find(deletedField, r.at, "", "%s: %s is not there any more: %s", s.Kind, r.path, g)
		return
	}
	f.find(unwrittenField, r.at, f.near(r.path), "%s: nothing before this step writes %s", s.Kind, r.path)
}

// writesFold reports whether the step itself brings a name into another form.
func (s *step) writesFold(path string) bool {
	return s.Kind == "rename" && slices.ContainsFunc(s.writes, func(w use) bool { return fold(w.path) == fold(path) })
}

func (g gone) String() string { return fmt.Sprintf("%s in line %d", g.how, g.at.Line) }

// near is the hint for a field that nothing writes.
func (f *flow) near(path string) string {
	// Comparing with all names is dear, and who has that many unknown fields has
	// another mistake.
	if f.hints++; f.hints > maxHints || len(f.draft.written.at) > maxHints {
		return ""
	}
	names := slices.Sorted(maps.Keys(f.draft.written.at))
	if near := config.Suggest(path, names); near != "" && near != path {
		return `did you mean "` + near + `"?`
	}
	return ""
}

// condition finds conditions that cannot be true because of fields that cannot
// be there.
func (f *flow) condition(s *step) {
	if s.where == nil || s.broken {
		return
	}
	reads := s.where.Reads
	missing := func(path string) bool { return !f.draft.mayExist(path) }
	f.cost += len(reads)
	if !slices.ContainsFunc(reads, func(r expr.Read) bool { return missing(r.Path) }) {
		for _, r := range reads {
			if other := f.draft.sibling(r.Path); other != "" {
				f.find(misspeltField, s.At("where").Offset(r.Offset), `did you mean "`+other+`"?`, "where: no step writes %s, but %s is written in line %d", r.Path, other, f.draft.written.at[other].Line)
			}
		}
		return
	}
	known := map[string]bool{}
	for _, r := range reads {
		known[r.Path] = missing(r.Path)
	}
	if s.where.MayHoldWithout(func(p string) bool { return known[p] }) {
		return
	}
	for _, r := range reads {
		// The one that is to blame, if it is one.
		if !known[r.Path] || s.where.MayHoldWithout(func(p string) bool { return p == r.Path }) {
			continue
		}
		at := s.At("where").Offset(r.Offset)
		if g, was := f.draft.isGone(r.Path); was {
			f.find(deletedField, at, "", "where is never true: %s is not there any more: %s", r.Path, g)
		} else {
			f.find(unwrittenField, at, f.near(r.Path), "where is never true: nothing before this step writes %s", r.Path)
		}
		return
	}
	f.find(unwrittenField, s.At("where").Offset(0), "", "where is never true: the fields that it needs are not written by any step before")
}

// apply does to the draft what the step does.
func (f *flow) apply(s *step) {
	d := f.draft
	if s.all {
		d.open("")
		return
	}
	if s.log {
		d.open("log")
	}
	f.assign(s)
	for _, r := range s.removes {
		// An item of a list that goes away leaves its place to the next.
		if !s.unconditional(r.path) || strings.Trim(r.path[strings.LastIndexByte(r.path, '.')+1:], "0123456789") == "" {
			continue
		}
		how := "deleted"
		if s.Kind == "rename" && len(s.writes) > 0 {
			how = "moved to " + s.writes[0].path
		}
		d.remove(r.path, gone{r.at, how})
	}
	for _, w := range s.writes {
		// What is changed in place is there only if somebody wrote it.
		if !s.inPlace() || d.named(w.path) {
			d.write(w.path, w.at)
		}
	}
}

// lists reports whether a rule's data types meet a pipeline.
func (l *linter) lists(dataType string) bool {
	return slices.ContainsFunc(l.lines, func(of *line) bool { return slices.Contains(of.DataTypes, dataType) })
}

// dataTypes are those that pipelines list.
func (l *linter) dataTypes() []string {
	all := map[string]bool{}
	for _, of := range l.lines {
		for _, t := range of.DataTypes {
			all[t] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
