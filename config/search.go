package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// IndexPattern is which data types the indexPattern of a rule's history search
// names: events are indexed as v11-log-<dataType>-<date>, "*" stands for
// anything.
type IndexPattern struct{ patterns []string }

// indexPrefix begins the names of event indices in the reference engine.
const indexPrefix = "v11-log-"

// ParseIndexPattern reads an indexPattern; several have commas between them.
func ParseIndexPattern(text string) (IndexPattern, error) {
	var x IndexPattern
	for p := range strings.SplitSeq(text, ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if _, err := path.Match(p, ""); err != nil {
			return x, fmt.Errorf("indexPattern %q is no valid pattern", text)
		}
		x.patterns = append(x.patterns, p)
	}
	if len(x.patterns) == 0 {
		return x, errors.New("indexPattern is empty: write " + indexPrefix + "<dataType>-*, or " + indexPrefix + "* for every data type")
	}
	return x, nil
}

// String is the pattern as ParseIndexPattern takes it.
func (x IndexPattern) String() string { return strings.Join(x.patterns, ",") }

// Covers reports whether events of a data type are meant.
func (x IndexPattern) Covers(dataType string) bool {
	name := indexPrefix + dataType
	for _, p := range x.patterns {
		for _, n := range []string{name, name + "-2006.01.02"} {
			if ok, _ := path.Match(p, n); ok {
				return true
			}
		}
	}
	return false
}

// ParseWithin reads the within of a history search: a Go duration, or, as users
// write them too, days and weeks ("7d", "2w") and the date arithmetic of search
// engines ("now-15m"). 0 is no limit.
func ParseWithin(text string) (time.Duration, error) {
	t := strings.TrimPrefix(strings.TrimSpace(text), "now-")
	if t == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		unit := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[t[len(t)-1]]
		n, nerr := strconv.ParseFloat(t[:len(t)-1], 64)
		if unit == 0 || nerr != nil {
			return 0, fmt.Errorf("within is %q, want a duration such as 30s, 15m, 24h or 7d", text)
		}
		d = time.Duration(n * float64(unit))
	}
	if d <= 0 {
		return 0, fmt.Errorf("within is %q, want more than nothing", text)
	}
	return d, nil
}

var placeholder = regexp.MustCompile(`^\{\{\s*\.([^{}\s]+)\s*\}\}$`)

// ParsePlaceholder gives the path of a value that is wholly {{.path}}.
func ParsePlaceholder(value string) (path string, ok bool) {
	if m := placeholder.FindStringSubmatch(value); m != nil {
		return m[1], true
	}
	return "", false
}

// SearchOperators are the operators that the lines of a history search have.
var SearchOperators = []string{"filter_term", "must_not_term", "filter_match", "must_not_match"}

// MaxSearches bounds the searches of one rule, with all under or.
const MaxSearches = 100
