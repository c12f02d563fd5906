package conform

import (
	"fmt"
	"slices"
	"time"
)

// Status is what a check came to.
type Status string

// The statuses, from good to bad. Note and Skip are no judgement.
const (
	OK   Status = "ok"
	Note Status = "note" // worth knowing
	Skip Status = "skip" // not checked
	Warn Status = "warn" // works, and costs something
	Fail Status = "FAIL" // breaks the contract
)

// Result is what one check saw.
type Result struct {
	// Check is the check's name; a check may give several results.
	Check string `json:"check"`
	// Kind is the kind that was checked; empty where the process was.
	Kind   string `json:"kind,omitempty"`
	Status Status `json:"status"`
	// Seen is what was seen, for people.
	Seen string `json:"seen"`
	// Cure is what to do about it; empty where there is nothing to do.
	Cure string `json:"cure,omitempty"`
	// Took is how long the check lasted, in milliseconds.
	Took int64 `json:"tookMs"`
}

// Report is what all checks of one run saw, in order.
type Report struct {
	Results []Result
	// Kinds are those that the plugin turned out to be.
	Kinds []string
}

// Count is how many results have this status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, one := range r.Results {
		if one.Status == s {
			n++
		}
	}
	return n
}

// Find is the worst result of a check; ok is false where there is none.
func (r *Report) Find(check string) (worst Result, ok bool) {
	order := []Status{OK, Note, Skip, Warn, Fail}
	for _, one := range r.Results {
		if one.Check == check && (!ok || slices.Index(order, one.Status) > slices.Index(order, worst.Status)) {
			worst, ok = one, true
		}
	}
	return worst, ok
}

// tell adds a result to the report.
func (c *checker) tell(check string, s Status, cure, format string, args ...any) {
	now := time.Now()
	r := Result{
		Check: check, Kind: c.kind, Status: s, Seen: oneLine(fmt.Sprintf(format, args...)), Cure: cure,
		Took: now.Sub(c.last).Milliseconds(),
	}
	if s == OK || s == Note {
		r.Cure = ""
	}
	c.last = now
	c.report.Results = append(c.report.Results, r)
	if c.opts.Tell != nil {
		c.opts.Tell(r)
	}
}
