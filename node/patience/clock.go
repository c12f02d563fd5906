// Package patience counts the time that work takes, for those who end it where
// it takes too long. While a process is stopped, or its machine gives it no
// time, nothing is worked on: between two looks at the clock only so much
// counts as the work can need.
package patience

import "time"

// Clock counts the time of one piece of work. It is used by one goroutine.
type Clock struct {
	last  time.Time
	spent time.Duration
}

// Start is a clock that has counted nothing.
func Start() Clock { return Clock{last: time.Now()} }

// Spent is what the work has taken, of which the time since the last look counts
// for at most a given time.
func (c *Clock) Spent(atMost time.Duration) time.Duration {
	now := time.Now()
	c.spent += min(now.Sub(c.last), atMost)
	c.last = now
	return c.spent
}

// Skip leaves out the time since the last look.
func (c *Clock) Skip() { c.last = time.Now() }
