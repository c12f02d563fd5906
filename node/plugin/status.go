package plugin

import (
	"cmp"
	"slices"
	"time"
)

// State is how a plugin's socket stands.
type State string

const (
	// StateAbsent: there is no socket.
	StateAbsent State = "absent"
	// StateLive: connected; calls reach the plugin.
	StateLive State = "live"
	// StateUnreachable: there is a socket file, but nobody serves on it, or this
	// node may not connect. Status.Reason says which.
	StateUnreachable State = "unreachable"
)

// Status is how one plugin stands.
type Status struct {
	Name   string    `json:"name"`
	Kind   Kind      `json:"kind"`
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"` // of the state

	// Lane: calls go by the plugin's batch lane.
	Lane       bool   `json:"lane,omitempty"`
	LaneCalls  uint64 `json:"laneCalls,omitempty"`  // of Calls, those that went by lane
	LaneFrames uint64 `json:"laneFrames,omitempty"` // that carried LaneCalls

	InFlight  int64  `json:"inFlight"`
	Calls     uint64 `json:"calls"`    // that reached the plugin and have ended
	Failures  uint64 `json:"failures"` // of Calls
	LastError string `json:"lastError,omitempty"`
}

func (c *Client) status() Status {
	c.mu.Lock()
	s := Status{Name: c.name, Kind: c.kind, State: c.state, Reason: c.why, Since: c.since}
	c.mu.Unlock()
	if l := c.life.Load(); l != nil {
		s.Lane = l.lane.Load() != nil
	}
	s.LaneFrames = c.laneFrames.Load()
	s.LaneCalls = c.laneCalls.Load()
	s.InFlight = c.inFlight.Load()
	// Failures first: read later it could count a call that Calls does not.
	s.Failures = c.failures.Load()
	s.Calls = c.calls.Load()
	if text := c.lastErr.Load(); text != nil {
		s.LastError = *text
	}
	return s
}

// Snapshot is every plugin that has a socket, or that was asked for, by kind and
// name.
func (r *Registry) Snapshot() []Status {
	r.mu.Lock()
	clients := make([]*Client, 0, len(r.clients))
	for _, c := range r.clients {
		clients = append(clients, c)
	}
	r.mu.Unlock()
	all := make([]Status, len(clients))
	for i, c := range clients {
		all[i] = c.status()
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)),
			cmp.Compare(a.Name, b.Name))
	})
	return all
}
