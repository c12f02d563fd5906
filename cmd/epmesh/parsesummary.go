package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/node/offline"
)

// summaryText is what became of the logs, for people.
func (c *parseCmd) summaryText(s offline.Summary) string {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(printable(fmt.Sprintf(format, args...)) + "\n") }
	say("parsed %s: %s (%d with errors), %d dropped, %d undecodable; %s, %.0f logs/s",
		count(s.Logs, "log"), count(s.Events, "event"), s.WithErrors, s.Dropped, s.Undecodable,
		time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond), s.Rate())
	if s.Unfinished > 0 {
		say("%s had been read and were given up", count(s.Unfinished, "log"))
	}
	if s.NoLogs > 0 && s.NoLogs == s.Logs {
		say("no line is a log in JSON: --raw with --data-type takes lines that are none")
	}
	if s.Undecodable > 0 && c.Dead == "" {
		say("undecodable lines are only counted: --dead FILE keeps them with the reason")
	}
	if len(s.Unlisted) > 0 {
		types := mostFirst(s.Unlisted)
		shown := types[:min(len(types), 10)]
		n := 0
		for _, logs := range s.Unlisted {
			n += logs
		}
		text := strings.Join(shown, ", ")
		if len(shown) < len(types) {
			text += ", ..."
		}
		say("no pipeline lists the data type of %s: %s", count(n, "log"), text)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Missed)) {
		say("plugin %s was not there for %s", name, count(s.Missed[name], "call"))
	}
	if s.UnknownKeys > 0 {
		say("%s had keys that a Log does not have", count(s.UnknownKeys, "log"))
	}
	if s.TooLarge > 0 {
		say("a node refuses %s for the size: raise input.max_log there", count(s.TooLarge, "log"))
	}
	if s.Vanished > 0 && !c.Unknown {
		say("%s vanished, since events have no place for them: --unknown lists them", count(s.Vanished, "field"))
	}
	if s.Vanished > 0 && c.Unknown {
		say("%s vanished, since events have no place for them:", count(s.Vanished, "field"))
		for _, path := range mostFirst(s.VanishedFields) {
			say("%8d  %s", s.VanishedFields[path], path)
		}
	}
	return b.String()
}

// mostFirst are the names that were counted, the most frequent first.
func mostFirst(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(counts[y]-counts[x], strings.Compare(x, y))
	})
}

// misspelt tells of keys that a Log does not have, each once.
type misspelt struct {
	w    io.Writer
	told map[string]bool
}

// maxMisspelt is how many keys are told of.
const maxMisspelt = 20

func (m *misspelt) tell(line int, keys []string) {
	for _, key := range keys {
		if m.told[key] || len(m.told) >= maxMisspelt {
			continue
		}
		m.told[key] = true
		hint := ""
		if meant := offline.Suggest(key); meant != "" {
			hint = fmt.Sprintf("; did you mean %q?", meant)
		}
		complain(m.w, fmt.Sprintf("line %d: a Log has no key %q, what it says is not used%s", line, fit(key, 80), hint))
	}
}
