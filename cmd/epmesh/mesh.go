package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
)

// quiet is how long after an answer further nodes are waited for.
const quiet = 300 * time.Millisecond

// meshJSON is how the mesh stands: what its nodes say of themselves, and what
// the streams say.
type meshJSON struct {
	Nodes []node.Status `json:"nodes"`
	// Presence is what the mesh knows of nodes by itself: also of those that do
	// not answer, and of those that vanished within the last hour.
	Presence []bridge.NodePresence `json:"presence"`

	Stages  []stageJSON          `json:"stages"`
	Streams []bridge.StreamState `json:"streams"`
	// Orphaned are the consumers that no node serves. What they would have
	// taken is kept.
	Orphaned []string `json:"orphaned"`
	// Keyed are the consumers of partitions, where the plugin of each is among the
	// stages; what waits there is counted there.
	Keyed []stageJSON `json:"keyed,omitempty"`
	// Placed are those of items that were handed on to other nodes by their dataType
	// or tenant, where the consumer of each is among the stages and counts them too.
	Placed []placedJSON `json:"placed,omitempty"`
	// Unasked is what could not be asked, and why; what depends on it is missing.
	Unasked []string `json:"unasked,omitempty"`
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
	// Items are not done, an estimate; Oldest is when the first of them was stored,
	// zero where that is not known or there is none.
	Items  float64   `json:"items"`
	Oldest time.Time `json:"oldest,omitzero"`
	// Partitions are there where the plugin has an affinity.
	Partitions *partitionsJSON `json:"partitions,omitempty"`
	bridge.Counts
}

// stages are in the order of the way of the data.
var stageOrder = []string{"parse", "draft", "analysis", "correlation", "notification", "event-output", "alert-output"}

// ask asks all nodes and the server how they stand.
func ask(ctx context.Context, b *bridge.Bridge) (meshJSON, error) {
	m := meshJSON{Nodes: []node.Status{}, Presence: []bridge.NodePresence{}, Stages: []stageJSON{}, Streams: []bridge.StreamState{}, Orphaned: []string{}}
	nodes, err := askNodes(ctx, b)
	if err != nil {
		return m, err
	}
	m.Nodes = append(m.Nodes, nodes...)
	m.part(ctx, "which nodes there are", func(ctx context.Context) error {
		present, err := b.Nodes(ctx)
		m.Presence = append(m.Presence[:0], present...)
		return err
	})
	// A node whose server was just lost is on its way to another.
	for began := time.Now(); len(m.Nodes) == 0 && m.anyLive() && ctx.Err() == nil && time.Since(began) < answerWait; {
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
		}
		if m.Nodes, err = askNodes(ctx, b); err != nil {
			return m, err
		}
	}
	m.Nodes = append([]node.Status{}, m.Nodes...)
	var consumers []bridge.Pending
	m.part(ctx, "streams", func(ctx context.Context) error {
		var streams []bridge.StreamState
		streams, consumers, err = b.State(ctx)
		m.Streams = append(m.Streams[:0], streams...)
		return err
	})
	m.join(consumers)
	return m, ctx.Err()
}

const (
	// partTry is how long one request for a part of the answer may take, and
	// partWait how long it is made again: a cluster that has lost a server chooses
	// leaders within seconds.
	partTry  = 4 * time.Second
	partWait = 12 * time.Second
	// answerWait is how long nodes are asked again that have said that they are
	// there, where none answers.
	answerWait = 5 * time.Second
)

// part asks for a part of the answer, again where that fails, and at last notes
// that it is missing.
func (m *meshJSON) part(ctx context.Context, what string, f func(context.Context) error) {
	for began, pause := time.Now(), 100*time.Millisecond; ; pause *= 2 {
		try, cancel := context.WithTimeout(ctx, partTry)
		err := f(try)
		cancel()
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began)+pause > partWait {
			m.Unasked = append(m.Unasked, fmt.Sprintf("%s: %v", what, err))
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (m *meshJSON) anyLive() bool {
	return slices.ContainsFunc(m.Presence, func(p bridge.NodePresence) bool { return p.Live })
}

// partial is an error about what could not be asked; nil where all could.
func (m *meshJSON) partial() error {
	if len(m.Unasked) == 0 {
		return nil
	}
	return fmt.Errorf("not all could be asked, are enough NATS servers up? %s", strings.Join(m.Unasked, "; "))
}

// silent are the nodes that have said they are there, or were, and gave no
// answer.
func (m *meshJSON) silent() []bridge.NodePresence {
	var list []bridge.NodePresence
	for _, p := range m.Presence {
		if !slices.ContainsFunc(m.Nodes, func(n node.Status) bool { return n.Node == p.Node }) {
			list = append(list, p)
		}
	}
	return list
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
	m.fold()
	m.date()
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
	for _, list := range [][]stageJSON{m.Stages, m.Keyed} {
		for i := range list {
			if list[i].Consumer == consumer {
				return &list[i]
			}
		}
	}
	for i := range m.Placed {
		if m.Placed[i].Consumer == consumer {
			return &m.Placed[i].stageJSON
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
	if a := part.Affinity; a != nil {
		s.addPartitions(name, a)
	}
}
