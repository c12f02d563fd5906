package config

import (
	"slices"
	"strconv"
	"strings"
)

// levels are the log levels with the number from which on the ecosystem's
// LOG_LEVEL means them.
var levels = []struct {
	name string
	from int
}{
	{"error", 400},
	{"warn", 300},
	{"info", 200},
	{"debug", 100},
	{"trace", 0},
}

// levelName reads a log level, which is a name or a number.
func levelName(text string) (string, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	switch text {
	case "warning":
		text = "warn"
	case "critical", "fatal":
		text = "error"
	}
	n, err := strconv.Atoi(text)
	for _, l := range levels {
		if text == l.name || err == nil && n >= l.from {
			return l.name, true
		}
	}
	return "", false
}

// Number is the level as LOG_LEVEL has it, for the environment of plugins.
func (l Log) Number() int {
	for _, level := range levels {
		if level.name == l.Level {
			return max(level.from, 1)
		}
	}
	return 200
}

func levelNames() string {
	names := make([]string, 0, len(levels))
	for _, l := range slices.Backward(levels) {
		names = append(names, l.name)
	}
	return strings.Join(names, ", ")
}
