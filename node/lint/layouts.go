package lint

import (
	"strings"
	"time"
)

// layoutElements are the parts of Go's time layouts by what they stand for. The
// longer come before those that they begin with.
var layoutElements = []struct{ text, is string }{
	{"January", "month"},
	{"Jan", "month"},
	{"Monday", "weekday"},
	{"Mon", "weekday"},
	{"MST", "zone"},
	{"2006", "year"},
	{"-07:00:00", "offset"},
	{"-07:00", "offset"},
	{"-070000", "offset"},
	{"-0700", "offset"},
	{"-07", "offset"},
	{"Z07:00:00", "offset"},
	{"Z07:00", "offset"},
	{"Z070000", "offset"},
	{"Z0700", "offset"},
	{"Z07", "offset"},
	{"002", "day of the year"},
	{"__2", "day of the year"},
	{"_2006", "year"},
	{"_2", "day"},
	{"01", "month"},
	{"02", "day"},
	{"03", "hour"},
	{"04", "minute"},
	{"05", "second"},
	{"06", "year"},
	{"15", "hour"},
	{"PM", "half of the day"},
	{"pm", "half of the day"},
	{"1", "month"},
	{"2", "day"},
	{"3", "hour"},
	{"4", "minute"},
	{"5", "second"},
}

// elements are what a layout stands for, in its order.
func elements(layout string) []string {
	var found []string
	for i := 0; i < len(layout); {
		rest, took := layout[i:], 1
		if len(rest) > 1 && (rest[0] == '.' || rest[0] == ',') && (rest[1] == '0' || rest[1] == '9') {
			digits := len(rest[1:]) - len(strings.TrimLeft(rest[1:], rest[1:2]))
			if after := rest[1+digits:]; after == "" || after[0] < '0' || after[0] > '9' {
				found, i = append(found, "fraction"), i+1+digits
				continue
			}
		}
		for _, e := range layoutElements {
			// Go reads "Jan" and "Mon" only where no small letter follows.
			word := len(e.text) == 3 && (e.text == "Jan" || e.text == "Mon")
			if strings.HasPrefix(rest, e.text) && (!word || len(rest) == 3 || rest[3] < 'a' || rest[3] > 'z') {
				found, took = append(found, e.is), len(e.text)
				break
			}
		}
		i += took
	}
	return found
}

// layout checks a setting that is a Go time layout: the reference time as the
// times are written. The commonest mistake is another time.
func (l *linter) layout(s *step, key, layout string) {
	at := s.At(key)
	if layout == "" {
		l.missing(s, at.Position, key, "write it as the time 2006-01-02T15:04:05Z07:00 would be written")
		return
	}
	seen := map[string]bool{}
	for _, e := range elements(layout) {
		if seen[e] {
			l.find(badLayout, at.Position, layoutHint(layout), "reformat: %s names the %s twice, so it is no layout; it must be the time 2006-01-02T15:04:05Z07:00 as your times are written", key, e)
			return
		}
		seen[e] = true
	}
	if len(seen) == 0 {
		l.find(badLayout, at.Position, layoutHint(layout), "reformat: %s names no part of a time; it must be the time 2006-01-02T15:04:05Z07:00 as your times are written", key)
	}
}

// layoutHint makes a layout of an example, for the forms that are common.
func layoutHint(example string) string {
	for _, known := range []string{
		time.RFC3339Nano, time.RFC3339, "02/Jan/2006:15:04:05 -0700", time.RFC1123Z, time.RFC1123, time.DateTime, time.DateOnly,
		time.ANSIC, time.UnixDate, time.Stamp, "Jan _2 2006 15:04:05", "2006/01/02 15:04:05",
	} {
		if _, err := time.Parse(known, example); err == nil {
			return `did you mean "` + known + `"?`
		}
	}
	return ""
}
