package cases

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/epmesh/epmesh/config"
)

// Kind is in what way something came differently.
type Kind string

// The kinds of a Difference, and which of its Want and Got they have.
const (
	Differs      Kind = "differs"       // both: the field has another value
	Missing      Kind = "missing"       // Want: the field is absent
	Unexpected   Kind = "unexpected"    // Got: a field that was to be absent, or not wanted exactly
	Unmatched    Kind = "no match"      // both: the field's text does not match
	Error        Kind = "error"         // Got: an error on the event that is not wanted
	NoError      Kind = "no error"      // Want: an error that is not on the event
	Outcome      Kind = "outcome"       // both: an event, dropped, dead
	Alerts       Kind = "alerts"        // both: how many alerts of the rule Path there are
	Alert        Kind = "alert"         // Got: how many alerts of a rule that is not wanted to fire
	WantsNothing Kind = "wants nothing" // neither: the case says nothing to compare
)

// Difference is one thing that came differently than wanted.
type Difference struct {
	Kind      Kind
	Path      string          // of a field
	Position  config.Position // of what is wanted, else of the case
	Want, Got any             // plain values
	Note      string          // a likely reason
}

// comparison gathers the differences of one case.
type comparison struct {
	want *config.Want
	came *outcome
	out  []Difference
	// met are the paths of fields that came as wanted, which explain no other.
	met map[string]bool
}

// compare says what came differently than wanted.
func compare(want *config.Want, came *outcome) []Difference {
	c := &comparison{want: want, came: came, met: map[string]bool{}}
	switch {
	case came.late != "":
		return []Difference{{Kind: Outcome, Want: wantedWord(want), Got: came.word(), Note: "it took longer than " + came.late}}
	case want.None() && came.ran:
		return []Difference{{Kind: WantsNothing, Got: came.word(), Note: "write alerts, or run with --update to fill in what comes"}}
	case want.None():
		return []Difference{{Kind: WantsNothing, Got: came.word(), Note: "write fields, or run with --update to fill in what comes"}}
	case want.Dropped || came.dropped:
		if want.Dropped != came.dropped {
			c.outcome("dropped", came.dead)
		}
		return c.out
	case want.Dead != nil || came.dead != "":
		if want.Dead == nil || came.dead == "" || !want.Dead.In(came.dead) {
			c.outcome("dead", came.dead)
		}
		return c.out
	}
	c.compareAlerts()
	if came.event == nil {
		return c.out
	}
	fields, at := want.Fields, func(path string) config.Position { return want.At["fields."+path] }
	if want.Event != nil {
		fields = map[string]any{}
		for _, l := range leaves(want.Event) {
			fields[l.path()] = l.value
		}
		at = func(path string) config.Position { return want.At["event."+config.SplitPath(path)[0]] }
	}
	c.fields(fields, at)
	c.matches()
	for _, path := range want.Absent {
		if v, ok := lookup(came.event, config.SplitPath(path)); ok {
			c.out = append(c.out, Difference{Kind: Unexpected, Path: path, Position: want.At["absent."+path], Got: v})
		}
	}
	if want.Exact || want.Event != nil {
		c.exact(fields)
	}
	c.errors()
	return c.out
}

func wantedWord(want *config.Want) string {
	switch {
	case want.Dropped:
		return "dropped"
	case want.Dead != nil:
		return "dead: " + want.Dead.Source
	}
	return "an event"
}

func (c *comparison) outcome(key, reason string) {
	got := c.came.word()
	if c.came.dead != "" {
		got += ": " + reason
	}
	note := ""
	if c.came.dropper != "" {
		note = "by the step at " + c.came.dropper
	}
	c.out = append(c.out, Difference{Kind: Outcome, Position: c.want.At[key], Want: wantedWord(c.want), Got: got, Note: note})
}

// ordered are the keys of a mapping in the order in which they stand.
func ordered[V any](m map[string]V, at func(string) config.Position) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		p, q := at(a), at(b)
		return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column), cmp.Compare(a, b))
	})
}

func (c *comparison) fields(fields map[string]any, at func(string) config.Position) {
	paths := ordered(fields, at)
	var missing []Difference
	for _, path := range paths {
		want := fields[path]
		got, ok := lookup(c.came.event, config.SplitPath(path))
		switch {
		case !ok:
			missing = append(missing, Difference{Kind: Missing, Path: path, Position: at(path), Want: want})
		case config.SameValue(want, got):
			c.met[path] = true
		default:
			c.out = append(c.out, Difference{Kind: Differs, Path: path, Position: at(path), Want: want, Got: got, Note: whyDiffers(want, got)})
		}
	}
	for _, d := range missing {
		d.Note = c.whyMissing(d.Path, d.Want)
		c.out = append(c.out, d)
	}
}

func (c *comparison) matches() {
	at := func(path string) config.Position { return c.want.At["matches."+path] }
	for _, path := range ordered(c.want.Matches, at) {
		want := c.want.Matches[path]
		got, ok := lookup(c.came.event, config.SplitPath(path))
		switch {
		case !ok:
			c.out = append(c.out, Difference{Kind: Missing, Path: path, Position: at(path), Want: want.Source, Note: c.whyMissing(path, nil)})
		case !want.In(textOf(got)):
			c.out = append(c.out, Difference{Kind: Unmatched, Path: path, Position: at(path), Want: want.Source, Got: got})
		}
	}
}

// textOf is a value as matches see it.
func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return show(v)
}

// exact finds fields that nobody wants.
func (c *comparison) exact(fields map[string]any) {
	var wanted [][]string
	for path := range fields {
		wanted = append(wanted, config.SplitPath(path))
	}
	for path := range c.want.Matches {
		wanted = append(wanted, config.SplitPath(path))
	}
	for _, l := range leaves(c.came.event) {
		if c.came.envelope[l.parts[0]] || slices.ContainsFunc(wanted, func(w []string) bool { return within(l.parts, w) || within(w, l.parts) }) {
			continue
		}
		key := "exact"
		if c.want.Event != nil {
			key = "event"
		}
		if !slices.ContainsFunc(c.out, func(d Difference) bool { return d.Kind == Unexpected && d.Path == l.path() }) {
			c.out = append(c.out, Difference{Kind: Unexpected, Path: l.path(), Position: c.want.At[key], Got: l.value})
		}
	}
}

// errors compares those on the event: each is wanted, and each wanted is there.
func (c *comparison) errors() {
	for i, want := range c.want.Errors {
		if !slices.ContainsFunc(c.came.errors, want.In) {
			c.out = append(c.out, Difference{Kind: NoError, Position: c.want.At["errors."+strconv.Itoa(i)], Want: want.Source})
		}
	}
	for _, text := range c.came.errors {
		if !slices.ContainsFunc(c.want.Errors, func(t config.Text) bool { return t.In(text) }) {
			c.out = append(c.out, Difference{Kind: Error, Position: c.want.At["errors"], Got: text})
		}
	}
}
