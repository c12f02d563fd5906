package file

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/durable"
)

const (
	// maxEntries bounds the logs that are remembered; forgetAfter is for how long
	// those are whose file is gone: their compressed copy may still appear.
	maxEntries  = 16384
	forgetAfter = 24 * time.Hour
	// maxState bounds the file on disk, and maxCuts the cuts kept of one log.
	maxState = 64 << 20
	maxCuts  = 64
)

// position is how far one log is stored. A log is known by its place on the disk
// and by what it holds, so that renaming does not matter, a copy of it is known,
// and a new file in the place of a deleted one is seen. What is exported is
// what is kept on disk. It belongs to the state, under whose lock it changes.
type position struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Generation makes the ids of the log's records; it is on disk before the
	// first of them is sent.
	Generation string `json:"generation"`
	// Head is the hash of the first HeadSize bytes, Anchor that of what stands
	// before Offset, all of it as it was before compression.
	Head     string `json:"head,omitempty"`
	HeadSize int64  `json:"headSize,omitempty"`
	Offset   int64  `json:"offset"`
	Anchor   string `json:"anchor,omitempty"`
	// Cuts are ends of records behind Offset that only the time made.
	Cuts []int64 `json:"cuts,omitempty"`
	// Done is the size of a compressed file that was read to its end.
	Done int64 `json:"done,omitempty"`
	// Gone is since when, in Unix seconds, the file has not been there.
	Gone int64 `json:"gone,omitempty"`

	// How far this process has sent, which is never read again by it.
	sent       int64
	sentAnchor string
	// A compressed file of this size is sent to its end, or cannot be read on;
	// end, if not 0, is the last record's: once that is stored it is Done.
	ended int64
	end   int64
}

// reached is how far this process has sent, or how far an earlier one came.
func (p *position) reached() (offset int64, anchor string) {
	if p.sent > p.Offset {
		return p.sent, p.sentAnchor
	}
	return p.Offset, p.Anchor
}

func (p *position) key() fileKey { return fileKey{p.Device, p.Inode} }

func (p *position) valid() bool {
	return p.Generation != "" && p.Offset >= 0 && p.HeadSize >= 0 && p.HeadSize <= headSize &&
		p.Done >= 0 && p.Gone >= 0 && len(p.Cuts) <= maxCuts && (p.Head == "") == (p.HeadSize == 0)
}

// state is the positions of all logs of one plugin, and their file on disk.
type state struct {
	path string
	// existed: an earlier run has left it.
	existed bool

	mu    sync.Mutex
	logs  map[string]*position // by generation
	live  map[fileKey]*position
	dirty bool
}

// openState reads what was kept at path. A file that cannot be read is an error:
// beginning anew would send everything twice.
func openState(path string) (*state, error) {
	s := &state{path: path, logs: map[string]*position{}, live: map[fileKey]*position{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && info.Size() > maxState {
		return nil, fmt.Errorf("read positions: %s has %d bytes, more than it ever gets: remove it to begin all files anew", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	kept, err := decodePositions(text)
	if err != nil {
		return nil, fmt.Errorf("read positions: %s: %w: remove it to begin all files anew", path, err)
	}
	s.existed = true
	for _, p := range kept {
		s.logs[p.Generation] = p
		if p.Gone == 0 {
			s.live[p.key()] = p
		}
	}
	return s, nil
}

func decodePositions(text []byte) ([]*position, error) {
	var kept []*position
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	for _, p := range kept {
		if p == nil || !p.valid() {
			return nil, errors.New("a position makes no sense")
		}
	}
	return kept, nil
}

// find is the log that lies at a place, or nil.
func (s *state) find(key fileKey) *position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[key]
}

// get is a copy of a log's position.
func (s *state) get(p *position) position {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *p
	c.Cuts = slices.Clone(p.Cuts)
	return c
}

// all is every log. Only path and generation of what it returns may be read
// without the lock, by the one goroutine that changes them.
func (s *state) all() []*position {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*position, 0, len(s.logs))
	for _, p := range s.logs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *position) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Generation, b.Generation))
	})
	return list
}

// add takes a new log in. It is on disk once save has returned.
func (s *state) add(p *position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[p.Generation] = p
	s.settle(p, p.key(), p.Path)
}

// settle says where a log lies now; the caller holds the lock. The log that was
// known there before is there no more.
func (s *state) settle(p *position, key fileKey, path string) {
	if s.live[p.key()] == p {
		delete(s.live, p.key())
	}
	if old := s.live[key]; old != nil && old != p {
		old.Gone = time.Now().Unix()
	}
	p.Device, p.Inode, p.Path, p.Gone = key.device, key.inode, path, 0
	s.live[key] = p
	s.dirty = true
}

// move says where a log lies now.
func (s *state) move(p *position, key fileKey, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.key() != key || p.Path != path || p.Gone != 0 || s.live[key] != p {
		s.settle(p, key, path)
	}
}

// gone says that a log's file is no more what it was.
func (s *state) gone(p *position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[p.key()] == p {
		delete(s.live, p.key())
	}
	if p.Gone == 0 {
		p.Gone = time.Now().Unix()
		s.dirty = true
	}
}

// change changes a position under the lock.
func (s *state) change(p *position, f func(*position)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(p)
	s.dirty = true
}

// stored moves a log's offset forward; save writes it.
func (s *state) stored(p *position, end int64, anchor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end <= p.Offset {
		return
	}
	p.Offset, p.Anchor = end, anchor
	if p.end > 0 && end >= p.end {
		p.Done = p.ended
	}
	p.Cuts = slices.DeleteFunc(p.Cuts, func(cut int64) bool { return cut <= end })
	s.dirty = true
}

// sent says how far a log is sent.
func (s *state) sent(p *position, end int64, anchor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sent, p.sentAnchor = end, anchor
}

// forget drops logs that are long gone, and the oldest of too many.
func (s *state) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []*position
	for id, p := range s.logs {
		switch {
		case p.Gone == 0:
		case now.Sub(time.Unix(p.Gone, 0)) > forgetAfter:
			delete(s.logs, id)
			s.dirty = true
		default:
			gone = append(gone, p)
		}
	}
	if over := len(s.logs) - maxEntries; over > 0 {
		slices.SortFunc(gone, func(a, b *position) int { return cmp.Compare(a.Gone, b.Gone) })
		for _, p := range gone[:min(over, len(gone))] {
			delete(s.logs, p.Generation)
			s.dirty = true
		}
	}
}

// save writes the positions if they changed: beside, synced, renamed.
func (s *state) save() error {
	list := s.all()
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return nil
	}
	text, err := json.Marshal(list)
	s.dirty = false
	s.mu.Unlock()
	if err == nil {
		err = writeFile(s.path, text)
	}
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return fmt.Errorf("write positions: %w", err)
	}
	return nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return durable.WriteFile(path, func(f *os.File) error { _, err := f.Write(text); return err })
}

func newGeneration() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
