package history

import (
	"os"
	"sync"
	"sync/atomic"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// part is one segment. Between lock and unlock it does not change. Who has got it
// from a view may use it until the view is let go.
type part interface {
	start() uint64
	lock()
	unlock()
	count() int
	span() (oldest, newest int64)
	paths() *Paths
	types() []string
	find(key uint64) (posting, error)
	time(n int) int64
	event(n int, r *reader) (*pb.Event, error)
	// mayHave is false where no event has an id with this key.
	mayHave(id uint64) bool
	bytes() int64

	hold()
	release()
}

// view is the segments at one time, the oldest first. The parts of a view live
// as long as it is held.
type view struct {
	parts []part
	users atomic.Int64
}

func (v *view) release() {
	if v.users.Add(-1) == 0 {
		for _, p := range v.parts {
			p.release()
		}
	}
}

// live is a segment in a journal. While it is the last, events are added to it.
type live struct {
	base    uint64
	keyer   *keyer
	journal *journal
	users   atomic.Int64

	mu      sync.RWMutex
	index   *builder
	ids     []uint64 // of each event the key of its id
	offsets []int64  // of each record, and the end
}

func newLive(base uint64, k *keyer, j *journal) *live {
	return &live{base: base, keyer: k, journal: j, index: newBuilder(k.paths), offsets: []int64{j.size}}
}

// put indexes a record that is in the journal.
func (l *live) put(keys []uint64, dataType string, when, arrived int64, length int) {
	l.index.add(keys, dataType, when, arrived)
	l.ids = append(l.ids, keys[0])
	l.offsets = append(l.offsets, l.offsets[len(l.offsets)-1]+recordHeader+int64(length))
}

func (l *live) start() uint64                    { return l.base }
func (l *live) lock()                            { l.mu.RLock() }
func (l *live) unlock()                          { l.mu.RUnlock() }
func (l *live) count() int                       { return l.index.size() }
func (l *live) span() (int64, int64)             { return l.index.oldest, l.index.newest }
func (l *live) paths() *Paths                    { return &l.index.paths }
func (l *live) types() []string                  { return l.index.types }
func (l *live) find(key uint64) (posting, error) { return l.index.posting(key), nil }
func (l *live) time(n int) int64                 { return l.index.times[n] }
func (l *live) mayHave(uint64) bool              { return true }
func (l *live) bytes() int64                     { return l.offsets[len(l.offsets)-1] }
func (l *live) hold()                            { l.users.Add(1) }

func (l *live) event(n int, _ *reader) (*pb.Event, error) {
	b, err := l.journal.record(l.offsets[n], l.offsets[n+1])
	if err != nil {
		return nil, err
	}
	e := new(pb.Event)
	return e, proto.Unmarshal(b, e)
}

func (l *live) release() {
	if l.users.Add(-1) == 0 {
		_ = l.journal.file.Close()
	}
}

// sealed is a segment that is full: an events file and its index.
type sealed struct {
	*events
	index *index
	users atomic.Int64
}

func openSealed(eventsPath, indexPath string, proof uint64) (*sealed, error) {
	e, err := openEvents(eventsPath)
	if err != nil {
		return nil, err
	}
	x, err := openIndex(indexPath, e, proof)
	if err != nil {
		e.close()
		return nil, err
	}
	return &sealed{events: e, index: x}, nil
}

func openEvents(path string) (*events, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	e, err := parseEvents(m.data)
	if err != nil {
		m.close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	e.mapping = m
	e.jump()
	return e, nil
}

func openIndex(path string, e *events, proof uint64) (*index, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(m.data, e.base, proof, e.size)
	if err != nil {
		m.close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	x.mapping = m
	x.jump()
	return x, nil
}

func (s *sealed) start() uint64                    { return s.base }
func (s *sealed) lock()                            {}
func (s *sealed) unlock()                          {}
func (s *sealed) count() int                       { return s.size }
func (s *sealed) span() (int64, int64)             { return s.oldest, s.newest }
func (s *sealed) paths() *Paths                    { return &s.index.paths }
func (s *sealed) types() []string                  { return s.index.types }
func (s *sealed) find(key uint64) (posting, error) { return s.index.find(key) }
func (s *sealed) mayHave(id uint64) bool           { return filterHas(s.index.filter, id) }
func (s *sealed) bytes() int64                     { return int64(len(s.events.data) + len(s.index.data)) }
func (s *sealed) hold()                            { s.users.Add(1) }

func (s *sealed) event(n int, r *reader) (*pb.Event, error) {
	if n >= s.size {
		return nil, damaged("its index names an event that it does not have")
	}
	slot := s.slot(n)
	if slot >= s.size {
		return nil, damaged("an event lies in no slot")
	}
	b := s.blockOf(slot)
	if r.of != s || r.block != b {
		r.of = nil
		var err error
		if r.bodies, r.buffer, err = s.bodies(b, r.buffer); err != nil {
			return nil, &os.PathError{Op: "read", Path: s.path(), Err: err}
		}
		r.of, r.block = s, b
	}
	e := new(pb.Event)
	return e, proto.Unmarshal(r.bodies[slot-s.first(b)], e)
}

func (s *sealed) path() string { return s.events.mapping.path }

func (s *sealed) release() {
	if s.users.Add(-1) == 0 {
		s.events.close()
		s.index.close()
	}
}

// reader is what one search reads blocks with: it keeps the last.
type reader struct {
	of     *sealed
	block  int
	bodies [][]byte
	buffer []byte
}
