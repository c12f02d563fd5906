package bridge

import (
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// intake is what a consumer has taken from its stream on this node: what is
// worked on, and what waits. It says how much more to take: as much as this node
// does in holdFor, by what it has done lately, so that a slow node leaves work for
// others. What waits is begun in turns of the tenants (deficit round robin,
// Shreedhar and Varghese 1995, in bytes), so that one tenant with much does not
// hold up another; it goes as far as what was taken, no further: what is still in
// the stream comes in the stream's order.
type intake struct {
	// calls is how many items can be worked on at once; most bounds the items of
	// all messages that are not settled.
	calls func() int
	most  int
	now   func() time.Time
	// changed is told when there may be room; it holds one.
	changed chan struct{}

	mu      sync.Mutex
	tenants map[string]*line
	turn    []*line // those with messages
	waiting int     // messages
	bytes   int     // of them
	queued  int     // items of them
	begun   int     // items of messages that are worked on
	storing int     // items of those whose outputs are being stored, or that are tried again
	working int     // messages of both
	stuck   bool    // what waited was given back; nothing is taken until something is done
	closed  bool

	perMessage float64 // items, as they came lately
	rate       float64 // items a second while there is work
	since      time.Time
	done       int // since then
}

// taken is a message that waits.
type taken struct {
	msg   jetstream.Msg
	items []Item
	at    time.Time
}

// line is what waits of one tenant.
type line struct {
	tenant  string
	list    []taken
	deficit int
}

const (
	// holdFor is how much work a node holds, in its own time.
	holdFor = time.Second
	// rateOver is over how long a rate is taken; each counts half as much as the
	// next.
	rateOver = 200 * time.Millisecond
	// aheadMessages and aheadBytes bound what waits.
	aheadMessages = 2 * fetchMessages
	aheadBytes    = 16 << 20
	// quantum is what a tenant may have begun before it is another's turn.
	quantum = 128 << 10
)

func newIntake(most int, calls func() int) *intake {
	return &intake{calls: calls, most: most, now: time.Now, changed: make(chan struct{}, 1), tenants: map[string]*line{}, perMessage: 1}
}

// room is how many messages to ask for now; 0 for none.
func (in *intake) room() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stuck || in.closed || in.waiting > aheadMessages-fetchMessages || in.bytes >= aheadBytes {
		return 0
	}
	hold := in.rate * holdFor.Seconds()
	left := max(hold, float64(in.calls())) - float64(in.begun+in.queued)
	switch {
	case left > 0:
		return in.within(left)
	case in.waiting == 0 && float64(in.begun) <= 2*hold:
		return 1 // a large one; the next is to be here when it is done
	}
	return 0
}

// within is how many messages hold that many items.
func (in *intake) within(items float64) int {
	return max(1, min(int(items/in.perMessage), fetchMessages))
}

// put adds a message that waits.
func (in *intake) put(msg jetstream.Msg, items []Item) {
	in.mu.Lock()
	defer in.mu.Unlock()
	name := tenantToken(msg.Subject())
	l := in.tenants[name]
	if l == nil {
		l = &line{tenant: name}
		in.tenants[name] = l
		in.turn = append(in.turn, l)
	}
	l.list = append(l.list, taken{msg, items, in.now()})
	in.waiting++
	in.bytes += len(msg.Data())
	in.queued += len(items)
	in.perMessage += (float64(len(items)) - in.perMessage) / 8
}

// next is the message to begin now, if one may be. It counts as begun.
func (in *intake) next() (t taken, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.waiting == 0 {
		return t, false
	}
	l := in.turn[0]
	for ; l.deficit < len(l.list[0].msg.Data()) && len(in.turn) > 1; l = in.turn[0] {
		l.deficit += quantum
		in.turn = append(in.turn[1:], l)
	}
	t = l.list[0]
	n := len(t.items)
	if in.begun > 0 && in.begun+n > min(4*in.calls(), in.most) || in.working > 0 && in.begun+in.storing+n > in.most {
		return taken{}, false
	}
	l.deficit = max(0, l.deficit-len(t.msg.Data()))
	l.list[0] = taken{}
	l.list = l.list[1:]
	in.drop(t)
	if len(l.list) == 0 {
		in.turn = in.turn[1:]
		delete(in.tenants, l.tenant)
	}
	if in.working == 0 {
		in.since, in.done = in.now(), 0 // the time without work says nothing
	}
	in.working++
	in.begun += n
	return t, true
}

func (in *intake) drop(t taken) {
	in.waiting--
	in.bytes -= len(t.msg.Data())
	in.queued -= len(t.items)
}

// tried says that all items of a message have been tried: the next may begin
// while what came of it is stored.
func (in *intake) tried(t taken) {
	in.mu.Lock()
	in.begun -= len(t.items)
	in.storing += len(t.items)
	in.count(len(t.items))
	in.mu.Unlock()
	in.tell()
}

// end takes off a message that was tried and is settled.
func (in *intake) end(t taken) {
	in.mu.Lock()
	in.working--
	in.storing -= len(t.items)
	if in.working == 0 {
		in.stuck = false
	}
	in.mu.Unlock()
	in.tell()
}

func (in *intake) count(n int) {
	in.done += n
	in.stuck = false
	took := in.now().Sub(in.since)
	switch {
	case took <= 0:
	case in.rate == 0:
		in.rate = float64(in.done) / took.Seconds()
	case took >= rateOver:
		in.rate += (float64(in.done)/took.Seconds() - in.rate) / 2
		in.since, in.done = in.now(), 0
	}
}

func (in *intake) tell() {
	select {
	case in.changed <- struct{}{}:
	default:
	}
}

// overdue takes out what has waited longer than age, to be given back: the work
// has become much slower than it was, and others may be quicker. Nothing more is
// taken until something is done.
func (in *intake) overdue(age time.Duration) []taken {
	in.mu.Lock()
	defer in.mu.Unlock()
	limit := in.now().Add(-age)
	var out []taken
	var turn []*line
	for _, l := range in.turn {
		for len(l.list) > 0 && l.list[0].at.Before(limit) {
			out = append(out, l.list[0])
			in.drop(l.list[0])
			l.list = l.list[1:]
		}
		if len(l.list) > 0 {
			turn = append(turn, l)
		} else {
			delete(in.tenants, l.tenant)
		}
	}
	in.turn = turn
	in.stuck = in.stuck || len(out) > 0
	return out
}

// close takes out everything that waits; nothing more is begun.
func (in *intake) close() []taken {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	return in.overdue(-time.Hour)
}

// state is how many items wait here, and how many a second are done.
func (in *intake) state() (waiting int, rate float64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.queued, in.rate
}

// tenantToken is whose the items of a subject are; messages are nobody's.
func tenantToken(subject string) string {
	rest, ok := strings.CutPrefix(subject, subjectDraft)
	if ok {
		_, rest, _ = strings.Cut(rest, ".")
	} else {
		for _, p := range []string{subjectLog, subjectEvent, subjectAlert} {
			if rest, ok = strings.CutPrefix(subject, p); ok {
				break
			}
		}
	}
	if !ok {
		return ""
	}
	token, _, _ := strings.Cut(rest, ".")
	return token
}
