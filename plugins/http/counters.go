package httpin

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// counters are of this process, since its start.
type counters struct {
	requests, records, bytes atomic.Uint64 // stored; bytes of bodies as they were uncompressed
	repeated                 atomic.Uint64 // requests that were stored before
	rejected                 atomic.Uint64 // OTLP records that were left out

	unauthorized, tooMuch, tooLarge, unsupported, bad, late atomic.Uint64 // requests refused

	mu   sync.Mutex
	told [11]uint64
}

// refused counts a refusal by its status.
func (c *counters) refused(status int) {
	switch status {
	case 401, 403:
		c.unauthorized.Add(1)
	case 429:
		c.tooMuch.Add(1)
	case 413:
		c.tooLarge.Add(1)
	case 415:
		c.unsupported.Add(1)
	case 503, 409:
		c.late.Add(1)
	default:
		c.bad.Add(1)
	}
}

// tell logs the counters if they changed since they were told.
func (c *counters) tell(log hclog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := [...]string{
		"requests", "records", "bytes", "repeated", "rejectedRecords",
		"unauthorized", "tooManyRequests", "tooLarge", "unsupported", "bad", "notStoredInTime",
	}
	now := [11]uint64{
		c.requests.Load(), c.records.Load(), c.bytes.Load(), c.repeated.Load(), c.rejected.Load(),
		c.unauthorized.Load(), c.tooMuch.Load(), c.tooLarge.Load(), c.unsupported.Load(), c.bad.Load(), c.late.Load(),
	}
	if now == c.told {
		return
	}
	c.told = now
	args := make([]any, 0, 2*len(names))
	for i, name := range names {
		args = append(args, name, now[i])
	}
	log.Info("requests so far", args...)
}
