package history

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// Limits bound a store in memory.
type Limits struct {
	Events int
	Bytes  int
	Age    time.Duration
}

// Memory is a store in memory: a ring in order of arrival, with the places of
// the events that have a value, for each path that a term search asks for. The
// oldest make room for the new. It is durable as long as the process.
type Memory struct {
	limits Limits

	mu     sync.RWMutex
	ring   []kept // ring[0] has the place first
	first  uint64
	bytes  int
	ids    map[string]uint64
	paths  Paths
	places map[term][]uint64 // ascending
}

// kept is one event. It holds the event in wire form, which is a fraction of the
// decoded one, and the values that searches look at.
type kept struct {
	id       string
	dataType string
	time     int64
	arrived  time.Time
	body     []byte
	values   map[string]any
	size     int
}

// term is a path with a value's text; term searches compare texts.
type term struct{ path, text string }

// NewMemory makes a store in memory.
func NewMemory(l Limits) *Memory {
	return &Memory{limits: l, ids: map[string]uint64{}, places: map[term][]uint64{}}
}

// Add implements [Store].
func (m *Memory) Add(_ context.Context, e *pb.Event, now time.Time) (uint64, error) {
	m.mu.RLock()
	place, ok := m.ids[e.Id]
	m.mu.RUnlock()
	if ok {
		return place, nil
	}
	body, err := proto.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("history: encode event: %w", err)
	}
	k := kept{id: e.Id, dataType: e.DataType, time: When(e, now), arrived: now, body: body}

	m.mu.Lock()
	defer m.mu.Unlock()
	if place, ok := m.ids[e.Id]; ok {
		return place, nil
	}
	m.fill(&k, e)
	place = m.first + uint64(len(m.ring))
	m.ring = append(m.ring, k)
	m.bytes += k.size
	m.ids[k.id] = place
	m.link(&k, place)
	for len(m.ring) > 1 && (len(m.ring) > m.limits.Events || m.bytes > m.limits.Bytes || now.Sub(m.ring[0].arrived) > m.limits.Age) {
		m.evict()
	}
	return place, nil
}

// disorder is how far behind its predecessor's the arrival of an event may be:
// callers look at the clock before they wait for their turn.
const disorder = time.Minute

// overhead is what an entry costs beside its bytes, about.
const overhead = 300

// fill reads the watched values of an event.
func (m *Memory) fill(k *kept, e *pb.Event) {
	k.values = map[string]any{}
	k.size = len(k.body) + overhead
	for _, list := range [][]string{m.paths.Terms, m.paths.Words} {
		for _, path := range list {
			if v := fields.Get(e, path); v != nil {
				k.values[path] = v
				k.size += len(path) + 48
			}
		}
	}
}

func (m *Memory) link(k *kept, place uint64) {
	for _, path := range m.paths.Terms {
		for text := range texts(k.values[path]) {
			t := term{path, text}
			m.places[t] = append(m.places[t], place)
		}
	}
}

// evict drops the oldest; its place is the first in every list that has it.
func (m *Memory) evict() {
	k := &m.ring[0]
	for _, path := range m.paths.Terms {
		for text := range texts(k.values[path]) {
			t := term{path, text}
			if list := m.places[t]; len(list) > 1 {
				m.places[t] = list[1:]
			} else {
				delete(m.places, t)
			}
		}
	}
	delete(m.ids, k.id)
	m.bytes -= k.size
	*k = kept{}
	m.ring = m.ring[1:]
	m.first++
}

// Watch implements [Store]; what is kept is prepared when it returns.
func (m *Memory) Watch(p Paths) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Equal(m.paths.Terms, p.Terms) && slices.Equal(m.paths.Words, p.Words) {
		return nil
	}
	m.paths = p
	m.places = map[term][]uint64{}
	m.bytes = 0
	for i := range m.ring {
		k := &m.ring[i]
		e := new(pb.Event)
		if err := proto.Unmarshal(k.body, e); err != nil {
			return fmt.Errorf("history: decode event: %w", err)
		}
		m.fill(k, e)
		m.bytes += k.size
		m.link(k, m.first+uint64(i))
	}
	return nil
}

// Search implements [Store].
func (m *Memory) Search(_ context.Context, q Query) (Result, error) {
	var r Result
	var bodies [][]byte
	c := compile(q)
	m.mu.RLock()
	for place := range m.candidates(c) {
		k := &m.ring[place-m.first]
		if k.arrived.Add(disorder).UnixMilli() < c.since {
			break // what is older is so too
		}
		if k.time < c.since || !c.covers(k.dataType) || !m.fits(k, c) {
			continue
		}
		r.Total++
		if len(bodies) < q.Limit {
			bodies = append(bodies, k.body)
			r.Places = append(r.Places, place)
		}
		if r.Total >= c.enough() {
			break
		}
	}
	m.mu.RUnlock()
	if r.Total < q.Want && !q.Share {
		return Result{Total: r.Total}, nil
	}
	for _, b := range bodies {
		e := new(pb.Event)
		if err := proto.Unmarshal(b, e); err != nil {
			return Result{}, fmt.Errorf("history: decode event: %w", err)
		}
		r.Events = append(r.Events, e)
	}
	return r, nil
}

// candidates yields places, newest first: those of the rarest term, or all.
func (m *Memory) candidates(c *compiled) iter.Seq[uint64] {
	var rarest []uint64
	found := false
	for i := range c.with {
		t := &c.with[i]
		if t.Match || t.Not || !m.paths.has(&t.Criterion) {
			continue
		}
		list := m.places[term{t.Path, t.Text}]
		if !found || len(list) < len(rarest) {
			rarest, found = list, true
		}
	}
	return func(yield func(uint64) bool) {
		if found {
			end, _ := slices.BinarySearch(rarest, c.Before)
			for i, place := range slices.Backward(rarest[:end]) {
				// A list that holds a value twice has its place twice.
				if i+1 < end && rarest[i+1] == place {
					continue
				}
				if !yield(place) {
					return
				}
			}
			return
		}
		end := min(c.Before, m.first+uint64(len(m.ring)))
		for place := end; place > m.first; place-- {
			if !yield(place - 1) {
				return
			}
		}
	}
}

// fits looks at the values that are there, and decodes the event for others.
func (m *Memory) fits(k *kept, c *compiled) bool {
	var e *pb.Event
	for i := range c.with {
		t := &c.with[i]
		if slices.Contains(m.paths.Terms, t.Path) || slices.Contains(m.paths.Words, t.Path) {
			if !t.fits(k.values[t.Path]) {
				return false
			}
			continue
		}
		if e == nil {
			e = new(pb.Event)
			if proto.Unmarshal(k.body, e) != nil { // it was encoded here
				return false
			}
		}
		if !t.fits(fields.Get(e, t.Path)) {
			return false
		}
	}
	return true
}

// Stats implements [Store].
func (m *Memory) Stats() Stats {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Stats{Events: len(m.ring), Bytes: int64(m.bytes), First: m.first, Next: m.first + uint64(len(m.ring))}
}

// Close implements [Store].
func (m *Memory) Close() error { return nil }
