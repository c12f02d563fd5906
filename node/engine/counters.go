package engine

import (
	"sync/atomic"

	"github.com/epmesh/epmesh/node/telemetry"
)

// reason is why something was refused, for counting.
type reason int

const (
	taken reason = iota
	tooLarge
	malformed
	notUTF8
	emptyRaw
	noTopic
	longID
	unstorable
	reasons
)

var reasonNames = [reasons]string{
	tooLarge:   "too_large",
	malformed:  "malformed",
	notUTF8:    "not_utf8",
	emptyRaw:   "empty_raw",
	noTopic:    "no_topic",
	longID:     "long_id",
	unstorable: "unstorable",
}

// counters of one of the two methods, since the server was made. All that was
// received is sooner or later stored, refused or abandoned.
type counters struct {
	received  atomic.Uint64
	bytes     atomic.Uint64
	stored    atomic.Uint64
	refused   [reasons]atomic.Uint64
	abandoned atomic.Uint64
	acks      atomic.Uint64
	streams   atomic.Int64
	latency   *telemetry.Histogram
}

func (c *counters) snapshot(kind string) telemetry.InputSnapshot {
	// What left is read before what came, so that in flight is never negative.
	s := telemetry.InputSnapshot{
		Kind:      kind,
		Stored:    c.stored.Load(),
		Abandoned: c.abandoned.Load(),
		Refused:   make(map[string]uint64, reasons),
		Acks:      c.acks.Load(),
		Streams:   c.streams.Load(),
		Latency:   c.latency.Snapshot(),
	}
	left := s.Stored + s.Abandoned
	for r := taken + 1; r < reasons; r++ {
		n := c.refused[r].Load()
		s.Refused[reasonNames[r]] = n
		left += n
	}
	s.Received = c.received.Load()
	s.Bytes = c.bytes.Load()
	s.InFlight = int64(s.Received - left)
	return s
}

// Inputs reads the counters of both methods.
func (s *Server) Inputs() []telemetry.InputSnapshot {
	return []telemetry.InputSnapshot{s.logs.snapshot("log"), s.messages.snapshot("message")}
}
