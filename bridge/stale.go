package bridge

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StaleCopy is a server's copy of a stream, or of what its consumers have done, that
// lacks something. While there is one, the loss of a further server may stop the
// stream.
type StaleCopy struct {
	Server string `json:"server"`
	// Away: the server gives no answer. Else it catches up.
	Away bool `json:"away,omitempty"`
	// Behind is what it lacks, in operations of the server; 0 where that is not known.
	Behind uint64 `json:"behind,omitempty"`
}

// copies sets which copies of a stream and its consumers are not whole.
func (s *StreamState) copies(stream *jetstream.StreamInfo, consumers []*jetstream.ConsumerInfo) {
	s.Stale, s.Missing = nil, 0
	s.look(stream.Cluster, stream.Config.Replicas)
	for _, c := range consumers {
		want := stream.Config.Replicas
		if c.Config.Replicas > 0 {
			want = c.Config.Replicas
		}
		s.look(c.Cluster, want)
	}
}

// look adds what the leader of one group of copies knows: nothing where there is one
// server only, or no leader that could tell.
func (s *StreamState) look(c *jetstream.ClusterInfo, want int) {
	if c == nil || c.Leader == "" {
		return
	}
	s.Missing = max(s.Missing, want-1-len(c.Replicas))
	for _, p := range c.Replicas {
		if !p.Offline && p.Current {
			continue
		}
		i := slices.IndexFunc(s.Stale, func(was StaleCopy) bool { return was.Server == p.Name })
		if i < 0 {
			i = len(s.Stale)
			s.Stale = append(s.Stale, StaleCopy{Server: p.Name})
		}
		s.Stale[i].Away = s.Stale[i].Away || p.Offline
		s.Stale[i].Behind = max(s.Stale[i].Behind, p.Lag)
	}
}

// staleLook is after what time it is looked again at copies that catch up: under
// load any may be a moment behind.
const staleLook = 250 * time.Millisecond

// dropMoments leaves out the copies that are whole when they are looked at again.
func (b *Bridge) dropMoments(ctx context.Context, states []StreamState) {
	behind := func(s StreamState) bool {
		return slices.ContainsFunc(s.Stale, func(c StaleCopy) bool { return !c.Away })
	}
	if !slices.ContainsFunc(states, behind) || sleep(ctx, staleLook) != nil {
		return
	}
	for i, s := range states {
		if !behind(s) {
			continue
		}
		stream, consumers, err := b.consumersOf(ctx, s.Name)
		if err != nil {
			continue // what was seen first is told
		}
		states[i].copies(stream.CachedInfo(), consumers)
		states[i].Stale = slices.DeleteFunc(states[i].Stale, func(c StaleCopy) bool {
			return !slices.ContainsFunc(s.Stale, func(was StaleCopy) bool { return was.Server == c.Server })
		})
	}
}
