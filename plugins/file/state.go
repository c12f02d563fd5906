package file

import (
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
)

// position is how far one file is stored. A file is known by its place on the
// disk and by how it begins, so that renaming does not matter and a new file in
// the place of a deleted one is seen.
type position struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Generation makes the ids of the file's logs; it is on disk before the
	// first of them is sent.
	Generation string `json:"generation"`
	// Head is the hash of the first HeadSize bytes.
	Head     string `json:"head"`
	HeadSize int64  `json:"headSize"`
	Offset   int64  `json:"offset"`
}

func (p position) key() fileKey { return fileKey{p.Device, p.Inode} }

// state is the positions of all files of one plugin, and their file on disk.
type state struct {
	path string

	mu        sync.Mutex
	positions map[fileKey]*position
	dirty     bool
}

// openState reads what was kept at path. A file that cannot be read is an error:
// beginning anew would send everything twice.
func openState(path string) (*state, error) {
	s := &state{path: path, positions: map[fileKey]*position{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	var kept []*position
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("read positions: %s: %w: remove it to begin all files anew", path, err)
	}
	for _, p := range kept {
		s.positions[p.key()] = p
	}
	return s, nil
}

// get is the position kept for a file, as a copy.
func (s *state) get(key fileKey) (position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.positions[key]; ok {
		return *p, true
	}
	return position{}, false
}

// all is every position, as copies.
func (s *state) all() []position {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []position
	for _, p := range s.positions {
		list = append(list, *p)
	}
	return list
}

// set replaces the position of a file and returns once it is on disk.
func (s *state) set(p position) error {
	s.mu.Lock()
	s.positions[p.key()] = &p
	s.dirty = true
	s.mu.Unlock()
	return s.save()
}

// stored moves a file's offset forward; save writes it. A log of an earlier
// generation, from before the file was truncated, moves nothing.
func (s *state) stored(key fileKey, generation string, end int64) {
	s.mu.Lock()
	if p, ok := s.positions[key]; ok && p.Generation == generation && end > p.Offset {
		p.Offset = end
		s.dirty = true
	}
	s.mu.Unlock()
}

// update changes a kept position.
func (s *state) update(key fileKey, change func(*position)) {
	s.mu.Lock()
	if p, ok := s.positions[key]; ok {
		change(p)
		s.dirty = true
	}
	s.mu.Unlock()
}

// forget drops a file.
func (s *state) forget(key fileKey) {
	s.mu.Lock()
	delete(s.positions, key)
	s.dirty = true
	s.mu.Unlock()
}

// save writes the positions if they changed: beside, synced, renamed.
func (s *state) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	list := make([]*position, 0, len(s.positions))
	for _, p := range s.positions {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *position) int {
		if a.Path != b.Path {
			return compare(a.Path, b.Path)
		}
		return compare(a.Inode, b.Inode)
	})
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return fmt.Errorf("write positions: %w", err)
	}
	if err := writeFile(s.path, text); err != nil {
		return fmt.Errorf("write positions: %w", err)
	}
	s.dirty = false
	return nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".positions-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

func newGeneration() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
