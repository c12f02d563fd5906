package cases

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
)

// whyDiffers says what two values that are not the same have in common.
func whyDiffers(want, got any) string {
	w, wantText := want.(string)
	g, gotText := got.(string)
	switch {
	case wantText && gotText:
		switch {
		case strings.EqualFold(w, g):
			return "in case only"
		case strings.Join(strings.Fields(w), "") == strings.Join(strings.Fields(g), ""):
			return "in white space only"
		}
	case wantText && w == show(got):
		return "it came as " + sortOf(got) + ", not a text"
	case gotText && g == show(want):
		return "it came as a text, not " + sortOf(want)
	}
	return ""
}

// sortOf says what a value is.
func sortOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return "a number"
}

// whyMissing says what stands elsewhere that was likely meant.
func (c *comparison) whyMissing(path string, want any) string {
	parts := config.SplitPath(path)
	all := leaves(c.came.event)
	if telling(want) {
		for _, l := range all {
			if config.SameValue(l.value, want) && !c.came.envelope[l.parts[0]] && !c.met[l.path()] {
				return "its value stands at " + l.path()
			}
		}
	}
	last := parts[len(parts)-1]
	if above, ok := lookup(c.came.event, parts[:len(parts)-1]); ok {
		switch above := above.(type) {
		case map[string]any:
			var beside []string
			for key := range above {
				if !c.met[config.JoinPath(append(slices.Clip(parts[:len(parts)-1]), key)...)] {
					beside = append(beside, key)
				}
			}
			slices.Sort(beside)
			// Short names are all alike.
			if near := config.Suggest(last, beside); near != "" && (len(last) > 3 || strings.EqualFold(last, near)) {
				return "there is " + config.JoinPath(append(slices.Clip(parts[:len(parts)-1]), near)...)
			}
		case []any:
			return fmt.Sprintf("%s has %d items", config.JoinPath(parts[:len(parts)-1]...), len(above))
		default:
			return config.JoinPath(parts[:len(parts)-1]...) + " is " + sortOf(above)
		}
	}
	for _, l := range all {
		if strings.EqualFold(l.parts[len(l.parts)-1], last) && !c.came.envelope[l.parts[0]] && !c.met[l.path()] {
			return "there is " + l.path()
		}
	}
	if i := slices.IndexFunc(c.came.vanished, func(name string) bool { return strings.EqualFold(name, path) || strings.EqualFold(name, last) }); i >= 0 {
		return "the draft had " + c.came.vanished[i] + ", which events have no place for"
	}
	return ""
}

// telling reports whether a value is such that it hardly stands twice by
// chance.
func telling(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) > 2
	case []any, map[string]any, bool, nil:
		return false
	}
	return len(show(v)) > 1
}
