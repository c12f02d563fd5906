package bridge

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StaleCopy is a server's copy of a stream that lacks something. While there is
// one, the loss of a further server may stop the stream.
type StaleCopy struct {
	Server string `json:"server"`
	// Away: the server gives no answer. Else it catches up.
	Away bool `json:"away,omitempty"`
	// Behind is what it lacks, in operations of the server; 0 where that is not known.
	Behind uint64 `json:"behind,omitempty"`
}

// staleCopies are those that a stream's leader knows of; none where there is one
// server only, or no leader that could tell.
func staleCopies(c *jetstream.ClusterInfo) (stale []StaleCopy) {
	if c == nil || c.Leader == "" {
		return nil
	}
	for _, p := range c.Replicas {
		if p.Offline || !p.Current {
			stale = append(stale, StaleCopy{Server: p.Name, Away: p.Offline, Behind: p.Lag})
		}
	}
	return stale
}

// staleLook is after what time it is looked again at copies that catch up: under
// load any may be a moment behind.
const staleLook = 250 * time.Millisecond

// dropMoments leaves out the copies that are whole when they are looked at again.
func (b *Bridge) dropMoments(ctx context.Context, states []StreamState) {
	behind := func(c StaleCopy) bool { return !c.Away }
	if !slices.ContainsFunc(states, func(s StreamState) bool { return slices.ContainsFunc(s.Stale, behind) }) || sleep(ctx, staleLook) != nil {
		return
	}
	for i, s := range states {
		if !slices.ContainsFunc(s.Stale, behind) {
			continue
		}
		stream, err := b.js.Stream(ctx, s.Name)
		if err != nil {
			continue // what was seen first is told
		}
		now := staleCopies(stream.CachedInfo().Cluster)
		states[i].Stale = slices.DeleteFunc(now, func(c StaleCopy) bool {
			return !slices.ContainsFunc(s.Stale, func(was StaleCopy) bool { return was.Server == c.Server })
		})
	}
}
