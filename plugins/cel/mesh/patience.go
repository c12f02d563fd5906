package mesh

import (
	"sync"
	"time"
)

// patience is what is known of one other instance. One that does not answer is not
// waited for again until a pause is over; then one question tries it, and no other
// waits meanwhile.
type patience struct {
	mu     sync.Mutex
	pause  time.Duration // after the last failure; 0: it answers
	until  time.Time
	trying bool
}

const (
	minPause = 250 * time.Millisecond
	maxPause = 15 * time.Second
)

// begin reports whether to ask.
func (p *patience) begin(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pause == 0 {
		return true
	}
	if p.trying || now.Before(p.until) {
		return false
	}
	p.trying = true
	return true
}

// end notes how it went, and reports whether that is news. What was broken off is
// nobody's failure.
func (p *patience) end(now time.Time, answered, brokenOff bool) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trying = false
	switch {
	case brokenOff:
		return false
	case answered:
		news = p.pause > 0
		p.pause = 0
	case now.Before(p.until): // asked at once with another that has failed
	default:
		news = p.pause == 0
		p.pause = min(max(2*p.pause, minPause), maxPause)
		p.until = now.Add(p.pause)
	}
	return news
}
