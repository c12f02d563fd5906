package bridge

import (
	"context"
	"errors"
)

// Pending is how much a consumer has before it.
type Pending struct {
	Name   string `json:"consumer"`
	Stage  string `json:"stage"`
	Plugin string `json:"plugin,omitempty"`
	Stream string `json:"stream"`
	// Messages wait in the stream; each holds one or more items.
	Messages uint64 `json:"pending"`
	// Unacked are with workers.
	Unacked int `json:"unacked"`
	// Redelivered of these came more than once.
	Redelivered int `json:"redelivered"`
}

// StreamState is what a stream holds.
type StreamState struct {
	Name     string `json:"stream"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"` // 0: no limit
	Replicas int    `json:"replicas"`
	// Stale are the copies that are not whole, and were not a moment ago.
	Stale []StaleCopy `json:"stale,omitempty"`
	// Missing copies are on no server.
	Missing int `json:"missing,omitempty"`
}

// State asks the server for all streams and consumers of epmesh. With an error it
// returns those that could be asked for.
func (b *Bridge) State(ctx context.Context) ([]StreamState, []Pending, error) {
	var states []StreamState
	var pending []Pending
	var failed []error
	for _, s := range streams {
		stream, all, err := b.consumersOf(ctx, s.name)
		if err != nil {
			if failed = append(failed, err); ctx.Err() != nil {
				break
			}
			continue
		}
		info := stream.CachedInfo()
		state := StreamState{
			Name: s.name, Messages: info.State.Msgs, Bytes: info.State.Bytes,
			MaxBytes: max(info.Config.MaxBytes, 0), Replicas: info.Config.Replicas,
		}
		state.copies(info, all)
		states = append(states, state)
		for _, c := range all {
			if c.Name == keeper {
				continue
			}
			if s.name == StreamKeyed {
				pending = addPart(pending, c)
				continue
			}
			pending = append(pending, Pending{
				Name: c.Name, Stage: c.Config.Metadata["epmesh.stage"], Plugin: c.Config.Metadata["epmesh.plugin"], Stream: s.name,
				Messages: c.NumPending, Unacked: c.NumAckPending, Redelivered: c.NumRedelivered,
			})
		}
	}
	b.dropMoments(ctx, states)
	return states, pending, errors.Join(failed...)
}
