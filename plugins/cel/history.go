package cel

import (
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// store keeps events for the searches of rules. It is an interface so that
// something larger than memory can take its place.
type store interface {
	// add keeps an event and returns its place in the order of arrival. An event
	// whose id is kept already is not kept twice: it has the place it had.
	add(e *pb.Event, now time.Time) (place uint64)
	// search returns events of arrival before the place that fit the query, the
	// newest first, up to limit of them, and how many there are up to want.
	search(q query, before uint64, limit, want int) (hits []*pb.Event, total int)
	// watch says which paths queries will ask for.
	watch(terms, others []string)
}

// query is one history search with its placeholders filled in.
type query struct {
	index config.IndexPattern
	since time.Time
	with  []test
}

// limits bound a memory store.
type limits struct {
	events int
	bytes  int
	age    time.Duration
}

// kept is one event of a memory store. It holds the event in wire form, which is
// a fraction of the decoded one, and the values that searches look at.
type kept struct {
	id       string
	dataType string
	time     time.Time // the event's own
	arrived  time.Time
	body     []byte
	values   map[string]any
	size     int
}

// memory is a store in memory: a ring in order of arrival, with the places of
// the events that have a value, for each path that a term search asks for. The
// oldest make room for the new.
type memory struct {
	limits limits

	mu     sync.RWMutex
	ring   []kept // ring[0] has the place first
	first  uint64
	bytes  int
	ids    map[string]uint64
	terms  []string
	others []string
	places map[term][]uint64 // ascending
}

// term is a path with a value's text; term searches compare texts.
type term struct{ path, text string }

func newMemory(l limits) *memory {
	return &memory{limits: l, ids: map[string]uint64{}, places: map[term][]uint64{}}
}

func (m *memory) add(e *pb.Event, now time.Time) uint64 {
	m.mu.RLock()
	place, ok := m.ids[e.Id]
	m.mu.RUnlock()
	if ok {
		return place
	}
	body, err := proto.Marshal(e)
	if err != nil { // it was decoded from valid bytes
		return m.next()
	}
	k := kept{id: e.Id, dataType: e.DataType, time: eventTime(e, now), arrived: now, body: body}

	m.mu.Lock()
	defer m.mu.Unlock()
	if place, ok := m.ids[e.Id]; ok {
		return place
	}
	m.fill(&k, e)
	place = m.first + uint64(len(m.ring))
	m.ring = append(m.ring, k)
	m.bytes += k.size
	m.ids[k.id] = place
	m.link(&k, place)
	for len(m.ring) > 1 && (len(m.ring) > m.limits.events || m.bytes > m.limits.bytes || now.Sub(m.ring[0].arrived) > m.limits.age) {
		m.evict()
	}
	return place
}

func (m *memory) next() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.first + uint64(len(m.ring))
}

// skew is how far ahead of this clock an event's time may be.
const skew = time.Minute

// overhead is what an entry costs beside its bytes, about.
const overhead = 300

// fill reads the watched values of an event.
func (m *memory) fill(k *kept, e *pb.Event) {
	k.values = map[string]any{}
	k.size = len(k.body) + overhead
	for _, list := range [][]string{m.terms, m.others} {
		for _, path := range list {
			if v := fields.Get(e, path); v != nil {
				k.values[path] = v
				k.size += len(path) + 48
			}
		}
	}
}

func (m *memory) link(k *kept, place uint64) {
	for _, path := range m.terms {
		for text := range texts(k.values[path]) {
			t := term{path, text}
			m.places[t] = append(m.places[t], place)
		}
	}
}

// evict drops the oldest; its place is the first in every list that has it.
func (m *memory) evict() {
	k := &m.ring[0]
	for _, path := range m.terms {
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

func (m *memory) watch(terms, others []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Equal(m.terms, terms) && slices.Equal(m.others, others) {
		return
	}
	m.terms, m.others = terms, others
	m.places = map[term][]uint64{}
	m.bytes = 0
	for i := range m.ring {
		k := &m.ring[i]
		e := new(pb.Event)
		if proto.Unmarshal(k.body, e) == nil {
			m.fill(k, e)
		}
		m.bytes += k.size
		m.link(k, m.first+uint64(i))
	}
}

func (m *memory) search(q query, before uint64, limit, want int) (hits []*pb.Event, total int) {
	var bodies [][]byte
	m.mu.RLock()
	for place := range m.candidates(q, before) {
		k := &m.ring[place-m.first]
		if k.arrived.Before(q.since.Add(-skew)) {
			break // what is older is so too
		}
		if !q.index.Covers(k.dataType) || k.time.Before(q.since) || !fits(k, q.with) {
			continue
		}
		total++
		if len(bodies) < limit {
			bodies = append(bodies, k.body)
		}
		if total >= max(limit, want) {
			break
		}
	}
	m.mu.RUnlock()
	for _, b := range bodies {
		e := new(pb.Event)
		if proto.Unmarshal(b, e) == nil {
			hits = append(hits, e)
		}
	}
	return hits, total
}

// candidates yields places, newest first: those of the rarest term, or all.
func (m *memory) candidates(q query, before uint64) func(func(uint64) bool) {
	var rarest []uint64
	found := false
	for _, t := range q.with {
		if t.kind != isTerm || t.not || !slices.Contains(m.terms, t.path) {
			continue
		}
		list := m.places[term{t.path, t.text}]
		if !found || len(list) < len(rarest) {
			rarest, found = list, true
		}
	}
	return func(yield func(uint64) bool) {
		if found {
			end, _ := slices.BinarySearch(rarest, before)
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
		end := min(before, m.first+uint64(len(m.ring)))
		for place := end; place > m.first; place-- {
			if !yield(place - 1) {
				return
			}
		}
	}
}

func fits(k *kept, with []test) bool {
	for i := range with {
		if !with[i].fits(k.values[with[i].path]) {
			return false
		}
	}
	return true
}

// eventTime is when the event says it came in; now where it says nothing.
func eventTime(e *pb.Event, now time.Time) time.Time {
	for _, text := range []string{e.Timestamp, e.DeviceTime} {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return t
		}
	}
	return now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
