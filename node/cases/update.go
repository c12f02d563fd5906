package cases

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/epmesh/epmesh/config"
)

// Update gives the file's text with what came as the wants of the cases that
// did not pass, and how many those are. Cases that passed stay as they are to
// the byte. A case without an outcome, and one that cannot be written, is an
// error.
func (f *File) Update() (text []byte, changed int, err error) {
	wants := map[int]config.Want{}
	for i := range f.Results {
		r := &f.Results[i]
		if r.Passed() {
			continue
		}
		if r.Case.Events != nil && r.came.dead != "" {
			return nil, 0, fmt.Errorf("%s: case %q: %s", r.Case.Position, r.Case.Name, r.came.dead)
		}
		if r.came.late != "" {
			return nil, 0, fmt.Errorf("%s: case %q came to no end, so there is nothing to want", r.Case.Position, r.Case.Name)
		}
		want := r.anew()
		if left := compare(&want, &r.came); len(left) > 0 {
			return nil, 0, fmt.Errorf("%s: case %q cannot be made to want what came: %s %s", r.Case.Position, r.Case.Name, left[0].Kind, left[0].Path)
		}
		wants[r.index] = want
	}
	text, err = f.source.Update(wants)
	return text, len(wants), err
}

// anew are the case's wants, changed as little as makes them hold.
func (r *Result) anew() config.Want {
	want := r.eventAnew()
	if r.came.ran {
		want.Alerts = r.alertsAnew()
	}
	return want
}

func (r *Result) eventAnew() config.Want {
	was, came := &r.Case.Want, &r.came
	switch {
	case came.ran && came.event == nil:
		return config.Want{}
	case came.dropped:
		return config.Want{Dropped: true}
	case came.dead != "":
		t := config.NewText(came.dead)
		return config.Want{Dead: &t}
	case was.Event != nil:
		event := map[string]any{}
		for name, v := range came.event {
			if _, named := was.Event[name]; named || !came.envelope[name] {
				event[name] = v
			}
		}
		return config.Want{Event: event, Errors: errorsAnew(was.Errors, came.errors)}
	}
	want := config.Want{Exact: was.Exact, Errors: errorsAnew(was.Errors, came.errors)}
	set := func(path string, v any) {
		if want.Fields == nil {
			want.Fields = map[string]any{}
		}
		want.Fields[path] = v
	}
	if was.Fields != nil && len(was.Fields) == 0 {
		want.Fields = map[string]any{}
	}
	for path := range was.Fields {
		if v, ok := lookup(came.event, config.SplitPath(path)); ok {
			set(path, v)
		}
	}
	for path, t := range was.Matches {
		v, ok := lookup(came.event, config.SplitPath(path))
		switch {
		case ok && t.In(textOf(v)):
			if want.Matches == nil {
				want.Matches = map[string]config.Text{}
			}
			want.Matches[path] = t
		case ok:
			set(path, v)
		}
	}
	for _, path := range was.Absent {
		if _, ok := lookup(came.event, config.SplitPath(path)); !ok {
			want.Absent = append(want.Absent, path)
		}
	}
	if want.Exact {
		for _, d := range compare(&want, came) {
			if d.Kind == Unexpected {
				set(d.Path, d.Got)
			}
		}
	}
	aboutErrors := was.Errors != nil && was.Fields == nil && was.Matches == nil && was.Absent == nil
	if rest := (config.Want{Fields: want.Fields, Matches: want.Matches, Absent: want.Absent, Exact: want.Exact}); rest.None() && !aboutErrors && was.Alerts == nil {
		r.fill(&want)
	}
	return want
}

// fill wants all fields of the event, for a case that says nothing of them.
func (r *Result) fill(want *config.Want) {
	fields := map[string]any{}
	for _, l := range leaves(r.came.event) {
		if !r.came.envelope[l.parts[0]] {
			fields[l.path()] = l.value
		}
	}
	if want.Exact = len(fields) == 0; !want.Exact { // exact: that there are none
		want.Fields = fields
	}
}

// stepName is how errors begin that name their step. It changes with every line
// that is put before the step.
var stepName = regexp.MustCompile(`^.*?:\d+:\d+: step \d+ `)

// errorsAnew keeps of the wanted errors those that came, and adds the others
// that did.
func errorsAnew(was []config.Text, came []string) []config.Text {
	var out []config.Text
	for _, t := range was {
		if slices.ContainsFunc(came, t.In) {
			out = append(out, t)
		}
	}
	for _, text := range came {
		if !slices.ContainsFunc(out, func(t config.Text) bool { return t.In(text) }) {
			out = append(out, config.NewText(text[len(stepName.FindString(text)):]))
		}
	}
	if out == nil && was != nil {
		return []config.Text{}
	}
	return out
}
