package cases

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/epmesh/epmesh/config"
)

// finish gathers what is to be known of the file as a whole.
func (f *File) finish() {
	unanswered, types := map[string]int{}, map[string]config.Position{}
	for i := range f.Results {
		r := &f.Results[i]
		f.Time += r.Time
		for name := range r.came.unanswered {
			unanswered[name]++
		}
		for _, log := range r.Case.Logs() {
			if _, ok := types[log.GetDataType()]; !ok {
				types[log.GetDataType()] = r.Case.Position
			}
		}
	}
	if f.rules != nil {
		for _, p := range f.rules.report.Errors() {
			f.Notes = append(f.Notes, Note{p.Position, "this rule is not run: " + p.Message})
		}
	}
	if f.set == nil {
		return
	}
	var listed []string
	for _, p := range f.set.config.Pipelines {
		listed = append(listed, p.DataTypes...)
	}
	for _, dataType := range slices.SortedFunc(maps.Keys(types), func(a, b string) int { return cmp.Compare(types[a].Line, types[b].Line) }) {
		if slices.Contains(listed, dataType) {
			continue
		}
		text := fmt.Sprintf("no pipeline lists the data type %q, so nothing is done with the log", dataType)
		if near := config.Suggest(dataType, listed); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		f.Notes = append(f.Notes, Note{types[dataType], text})
	}
	called := f.set.pipelines.Plugins()
	for _, s := range f.source.Stubs {
		if slices.Contains(called, s.Name) {
			continue
		}
		text := fmt.Sprintf("no dynamic step calls the plugin %q", s.Name)
		if near := config.Suggest(s.Name, called); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		f.Notes = append(f.Notes, Note{s.Position, text})
	}
	for _, name := range slices.Sorted(maps.Keys(unanswered)) {
		f.Notes = append(f.Notes, Note{config.Position{File: f.Path}, fmt.Sprintf(
			"the plugin %s is called in %s and left the draft as it was: say what it answers with plugins: {%s: {set: …}}",
			name, plural(unanswered[name], "case"), name)})
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
