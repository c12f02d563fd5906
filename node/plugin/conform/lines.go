package conform

import (
	"regexp"
	"strings"
	"sync"

	"github.com/epmesh/epmesh/node/plugin"
)

// lines counts what the plugin writes. It keeps the last of standard error.
type lines struct {
	hand func(plugin.Line)

	mu    sync.Mutex
	total counted
}

type counted struct {
	lines, json, left, cut int
	trace                  string // the first line of a trace
	last                   string // of the present process: its trace, else its last line
	traced                 bool
}

func newLines(hand func(plugin.Line)) *lines { return &lines{hand: hand} }

var traceLine = regexp.MustCompile(`^(panic: |fatal error: |goroutine [0-9]+ \[|Traceback \(most recent)`)

func (l *lines) take(line plugin.Line) {
	if l.hand != nil {
		l.hand(line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.total
	t.lines++
	if line.JSON {
		t.json++
	}
	if line.Cut > 0 {
		t.cut++
	}
	if line.Left {
		t.left++
	}
	if t.traced {
		return // what follows is the trace itself
	}
	if t.traced = traceLine.MatchString(line.Message); t.traced && t.trace == "" {
		t.trace = line.Message
	}
	if line.Stderr || t.last == "" {
		t.last = line.Message
	}
}

// begin forgets the last words of an earlier process.
func (l *lines) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total.last, l.total.traced = "", false
}

func (l *lines) sum() counted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// lastWords is what the plugin wrote last, to be put behind what is said.
func (l *lines) lastWords() string {
	if last := strings.TrimSpace(l.sum().last); last != "" {
		return "; its last words: " + last
	}
	return ""
}
