package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
)

// quiet is how long after an answer further nodes are waited for.
const quiet = 300 * time.Millisecond

// meshJSON is how the mesh stands: what its nodes say of themselves, and what
// the streams say.
type meshJSON struct {
	Nodes   []node.Status        `json:"nodes"`
	Stages  []stageJSON          `json:"stages"`
	Streams []bridge.StreamState `json:"streams"`
	// Orphaned are the consumers that no node serves. What they would have
	// taken is kept.
	Orphaned []string `json:"orphaned"`
}

// stageJSON is one consumer with all nodes that serve it; the counts are their
// sums.
type stageJSON struct {
	Stage    string `json:"stage"`
	Plugin   string `json:"plugin,omitempty"`
	Consumer string `json:"consumer"`
	Stream   string `json:"stream,omitempty"`
	// Nodes have the consumer's work in their configuration; Serving can take
	// it now.
	Nodes   []string `json:"nodes"`
	Serving []string `json:"serving"`
	Waiting []string `json:"waiting,omitempty"` // for what the others wait

	Pending     int64   `json:"pending"` // messages, each of one or more items; -1: not known now
	Unacked     int     `json:"unacked"`
	Redelivered int     `json:"redelivered"`
	Rate        float64 `json:"rate"` // items a second
	bridge.Counts
}

// stages are in the order of the way of the data.
var stageOrder = []string{"parse", "draft", "analysis", "correlation", "notification", "event-output", "alert-output"}

// ask asks all nodes and the server how they stand.
func ask(ctx context.Context, b *bridge.Bridge) (meshJSON, error) {
	m := meshJSON{Nodes: []node.Status{}, Stages: []stageJSON{}, Streams: []bridge.StreamState{}, Orphaned: []string{}}
	nodes, err := askNodes(ctx, b)
	if err != nil {
		return m, err
	}
	m.Nodes = append(m.Nodes, nodes...)
	streams, consumers, err := b.State(ctx)
	if err != nil {
		return m, err
	}
	m.Streams = append(m.Streams, streams...)
	m.join(consumers)
	return m, nil
}

// askNodes asks all nodes, and sorts them by name.
func askNodes(ctx context.Context, b *bridge.Bridge) ([]node.Status, error) {
	answers, err := b.Ask(ctx, node.StatusRequest, quiet)
	if err != nil {
		return nil, err
	}
	var nodes []node.Status
	for _, a := range answers {
		var s node.Status
		if err := json.Unmarshal(a, &s); err != nil {
			return nil, fmt.Errorf("read a node's status: %w; is it of another version?", err)
		}
		nodes = append(nodes, s)
	}
	slices.SortFunc(nodes, func(a, b node.Status) int { return cmp.Compare(a.Node, b.Node) })
	return nodes, nil
}

// join makes the stages of what consumers there are and who serves them.
func (m *meshJSON) join(consumers []bridge.Pending) {
	for _, c := range consumers {
		m.Stages = append(m.Stages, stageJSON{
			Stage: c.Stage, Plugin: c.Plugin, Consumer: c.Name, Stream: c.Stream, Nodes: []string{}, Serving: []string{},
			Pending: int64(c.Messages), Unacked: c.Unacked, Redelivered: c.Redelivered,
		})
	}
	for _, n := range m.Nodes {
		for _, part := range n.Stages {
			s := m.stage(part.Consumer)
			if s == nil { // made since the server was asked
				m.Stages = append(m.Stages, stageJSON{
					Stage: part.Stage, Plugin: part.Plugin, Consumer: part.Consumer, Nodes: []string{}, Serving: []string{}, Pending: part.Pending,
				})
				s = &m.Stages[len(m.Stages)-1]
			}
			s.add(n.Node, part)
		}
	}
	slices.SortStableFunc(m.Stages, func(a, b stageJSON) int {
		return cmp.Or(cmp.Compare(rank(a.Stage), rank(b.Stage)), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Plugin, b.Plugin))
	})
	for _, s := range m.Stages {
		if len(s.Nodes) == 0 {
			m.Orphaned = append(m.Orphaned, s.Consumer)
		}
	}
}

// rank is a stage's place on the way of the data; unknown ones come last.
func rank(stage string) int {
	if i := slices.Index(stageOrder, stage); i >= 0 {
		return i
	}
	return len(stageOrder)
}

// stage finds a consumer by its name; nil where there is none.
func (m *meshJSON) stage(consumer string) *stageJSON {
	for i := range m.Stages {
		if m.Stages[i].Consumer == consumer {
			return &m.Stages[i]
		}
	}
	return nil
}

// add counts a node's part in.
func (s *stageJSON) add(name string, part node.StageStatus) {
	s.Stage, s.Plugin = part.Stage, part.Plugin // the stream's names may be shortened
	s.Nodes = append(s.Nodes, name)
	if part.Serving {
		s.Serving = append(s.Serving, name)
	} else if part.Waiting != "" {
		s.Waiting = append(s.Waiting, name+": "+part.Waiting)
	}
	s.Rate += part.Rate
	s.In += part.In
	s.Out += part.Out
	s.Dropped += part.Dropped
	s.Dead += part.Dead
	s.Returned += part.Returned
	s.InFlight += part.InFlight
	s.Retried += part.Retried
	s.Produced += part.Produced
	s.Newer += part.Newer
}
