package conform

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
)

// A node takes logs up to this, less only if so configured.
const maxLog = 1 << 20

// traffic judges what a plugin sends to the node.
type traffic struct {
	seq *regexp.Regexp

	mu       sync.Mutex
	logs     int
	sample   *pb.Log
	largest  int
	noID     int
	noType   int
	noSource int
	noTime   int
	badTime  string
	empty    int
	large    int
	numbers  numbers
	notNum   int // logs without the sequence's number
	msgs     int
	badMsg   string
}

func newTraffic(seq *regexp.Regexp) *traffic { return &traffic{seq: seq} }

// log looks at one log. gRPC has seen to it that texts are UTF-8.
func (t *traffic) log(l *pb.Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logs++
	if t.sample == nil {
		t.sample = l
	}
	t.largest = max(t.largest, len(l.GetRaw()))
	if l.GetId() == "" {
		t.noID++
	}
	if l.GetDataType() == "" {
		t.noType++
	}
	if l.GetDataSource() == "" {
		t.noSource++
	}
	switch {
	case l.GetTimestamp() == "":
		t.noTime++
	case t.badTime == "":
		if _, err := time.Parse(time.RFC3339Nano, l.GetTimestamp()); err != nil {
			t.badTime = l.GetTimestamp()
		}
	}
	if l.GetRaw() == "" {
		t.empty++
	}
	if len(l.GetRaw()) > maxLog {
		t.large++
	}
	if t.seq == nil {
		return
	}
	if m := t.seq.FindStringSubmatch(l.GetRaw()); m != nil {
		if n, err := strconv.ParseUint(m[1], 10, 62); err == nil {
			t.numbers.add(n)
			return
		}
	}
	t.notNum++
}

// message looks at one message.
func (t *traffic) message(m *pb.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.msgs++
	switch {
	case t.badMsg != "":
	case m.GetTopic() == "":
		t.badMsg = "a message without topic"
	case m.GetId() == "":
		t.badMsg = "a message without id"
	case !utf8.ValidString(m.GetMessage()):
		t.badMsg = "a message that is not UTF-8"
	}
}

// forget ends the sequence: what comes from now on is of another process.
func (t *traffic) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq = nil
}

// checkLogs judges the logs that have come so far.
func (c *checker) checkLogs() {
	t := c.traffic
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := fmt.Sprintf("%d logs, such as dataType %q, dataSource %q, raw %q; the largest has %d bytes", t.logs,
		short(t.sample.GetDataType()), short(t.sample.GetDataSource()), short(t.sample.GetRaw()), t.largest)
	share := func(n int) string { return fmt.Sprintf("%d of %d logs", n, t.logs) }
	switch {
	case t.empty > 0:
		c.tell("logs", Fail, "send no log with an empty raw: it becomes a dead letter", "%s have an empty raw", share(t.empty))
	case t.large > 0:
		c.tell("logs", Fail, "cut logs, or raise input.max_log: larger ones become dead letters", "%s are larger than 1 MiB", share(t.large))
	case t.noID > 0:
		c.tell("logs", Warn, "give each log an id of its own: an Ack names the last that is stored, and a log sent again is known by it", "%s have no id", share(t.noID))
	case t.noType > 0:
		c.tell("logs", Warn, "set dataType: pipelines are chosen by it; without, it is generic", "%s have no dataType", share(t.noType))
	case t.badTime != "":
		c.tell("logs", Warn, "write @timestamp as RFC 3339, such as "+at, "a timestamp %q", short(t.badTime))
	case t.noSource > 0:
		c.tell("logs", Warn, "set dataSource: it says where the log comes from", "%s have no dataSource", share(t.noSource))
	case t.noTime > 0:
		c.tell("logs", Note, "", "%s; %s have no timestamp and get the node's", seen, share(t.noTime))
	default:
		c.tell("logs", OK, "", "%s", seen)
	}
}

// checkSequence says what is missing among the numbers of the logs.
func (c *checker) checkSequence(when string) {
	t := c.traffic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seq == nil {
		return
	}
	have, missing := t.numbers.count(), t.numbers.missing()
	switch {
	case have == 0:
		c.tell("sequence", Fail, "give a --sequence that fits what raw holds", "%s finds no number in any of %d logs", t.seq, t.logs)
	case missing > 0:
		c.tell("sequence", Fail, "keep a log until its Ack, and wait where the node does", "%s: of the numbers %s, %d never came", when, t.numbers.span(), missing)
	case t.notNum > 0:
		c.tell("sequence", Note, "", "%s: the numbers %s came without a gap; %d logs have none", when, t.numbers.span(), t.notNum)
	default:
		c.tell("sequence", OK, "", "%s: the numbers %s all came, none is missing", when, t.numbers.span())
	}
}

// numbers is a set of numbers that mostly come one after the other.
type numbers struct{ spans []span }

type span struct{ from, to uint64 } // both in

// maxSpans bounds the gaps that are remembered; beyond it the smallest numbers
// count as one span.
const maxSpans = 100_000

func (s *numbers) add(n uint64) {
	i, found := slices.BinarySearchFunc(s.spans, n, func(a span, n uint64) int {
		switch {
		case a.to < n:
			return -1
		case a.from > n:
			return 1
		}
		return 0
	})
	if found {
		return
	}
	before := i > 0 && s.spans[i-1].to+1 == n
	after := i < len(s.spans) && s.spans[i].from == n+1
	switch {
	case before && after:
		s.spans[i-1].to = s.spans[i].to
		s.spans = slices.Delete(s.spans, i, i+1)
	case before:
		s.spans[i-1].to = n
	case after:
		s.spans[i].from = n
	default:
		s.spans = slices.Insert(s.spans, i, span{n, n})
		if len(s.spans) > maxSpans {
			s.spans[1].from = s.spans[0].from
			s.spans = slices.Delete(s.spans, 0, 1)
		}
	}
}

func (s *numbers) count() (n uint64) {
	for _, a := range s.spans {
		n += a.to - a.from + 1
	}
	return n
}

// missing is how many there are not, between the smallest and the largest.
func (s *numbers) missing() (n uint64) {
	for i := 1; i < len(s.spans); i++ {
		n += s.spans[i].from - s.spans[i-1].to - 1
	}
	return n
}

func (s *numbers) span() string {
	if len(s.spans) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d to %d", s.spans[0].from, s.spans[len(s.spans)-1].to)
}
