package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// show is a value as compact JSON.
func show(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// longValue is how many characters of a value are shown.
const longValue = 48

// Lines say what came differently, one thing a line, in columns. What is long is
// shortened around the first place where it differs.
func (r *Result) Lines() []string {
	var rows [][]string
	for _, d := range r.Differences {
		rows = append(rows, d.row())
	}
	width := make([]int, 4)
	for _, row := range rows {
		for i, cell := range row[:min(len(row), 3)] {
			if i+1 < len(row) {
				width[i] = max(width[i], utf8.RuneCountInString(cell))
			}
		}
	}
	var out []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
			if i+1 < len(row) {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
			}
		}
		out = append(out, b.String())
	}
	if len(r.Vanished) > 0 && len(r.Differences) > 0 {
		out = append(out, "left out, since events have no such fields: "+strings.Join(r.Vanished, ", "))
	}
	return out
}

// row are the columns of a difference: kind, path, want, got with its note.
func (d *Difference) row() []string {
	note := ""
	if d.Note != "" {
		note = " (" + d.Note + ")"
	}
	switch d.Kind {
	case Differs:
		want, got := shorten(show(d.Want), show(d.Got))
		return []string{string(d.Kind), d.Path, "want " + want, "got " + got + note}
	case Unmatched:
		_, got := shorten("", show(d.Got))
		return []string{string(d.Kind), d.Path, "want " + d.Want.(string), "got " + got}
	case Missing:
		want, _ := shorten(show(d.Want), "")
		if d.Note == "" {
			return []string{string(d.Kind), d.Path, "want " + want}
		}
		return []string{string(d.Kind), d.Path, "want " + want, d.Note}
	case Unexpected:
		_, got := shorten("", show(d.Got))
		return []string{string(d.Kind), d.Path, "got " + got}
	case Alerts:
		return []string{string(d.Kind), d.Path, fmt.Sprint("want ", d.Want), fmt.Sprint("got ", d.Got) + note}
	case Alert:
		return []string{string(d.Kind), d.Path, "want none", fmt.Sprint("got ", d.Got) + note}
	case Error:
		return []string{"an error on the event that is not wanted: " + d.Got.(string)}
	case NoError:
		return []string{"no error on the event has " + show(d.Want)}
	case WantsNothing:
		return []string{"the case wants nothing" + note}
	}
	return []string{fmt.Sprintf("want %v, got %v%s", d.Want, d.Got, note)}
}

// shorten leaves of two values what is around their first difference.
func shorten(want, got string) (string, string) {
	a, b := []rune(want), []rune(got)
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	cut := func(r []rune) string {
		if len(r) <= longValue {
			return string(r)
		}
		from := 0
		if len(a) > 0 && len(b) > 0 {
			from = max(0, min(same-longValue/3, len(r)-longValue))
		}
		to := min(len(r), from+longValue)
		text := string(r[from:to])
		if from > 0 {
			text = "…" + text
		}
		if to < len(r) {
			text += "…"
		}
		return text
	}
	return cut(a), cut(b)
}
