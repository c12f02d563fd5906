package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options are how a store on disk is kept.
type Options struct {
	// MaxBytes bounds the files of the store, at least [MinBytes] and at most
	// [MaxBytes]. While a segment is written, they may be above it by its size.
	MaxBytes int64
	// MaxAge is how long events are kept for sure, if there is room. They are gone
	// a sixteenth of it later at the latest.
	MaxAge time.Duration
	// Sync says when what was added is on the disk itself and survives the loss of
	// power: 0, before Add returns; above 0, that much later; below 0, when the
	// system sees fit. It survives the end of the process in any case.
	Sync time.Duration
	// SearchTime bounds one search.
	SearchTime time.Duration
	// Logger is told of damage, of what is written anew, and of what cannot be
	// written.
	Logger hclog.Logger

	events int // of a segment; tests have small ones
}

// The bounds of Options.MaxBytes.
const (
	MinBytes = 64 << 20
	MaxBytes = 32 << 30
)

// maxJournal bounds the bodies of a segment, and maxKeys the values in its index.
const (
	maxJournal = 64 << 20
	maxKeys    = 1 << 20
)

// Disk is a store in the files of one folder. It is made by [Open].
//
// It needs about 100 MiB of memory for the newest segment, and half of that for
// each of at most two that are being written; the rest is the system's cache of
// files. It has at most five files open.
type Disk struct {
	options Options
	dir     string
	journal int64 // bytes that a journal may have
	secret  secret
	locked  *os.File

	adds    chan *adding
	watches chan watching
	wake    chan struct{} // the keeper
	settled chan struct{} // from the keeper: a segment was sealed
	quit    chan struct{}
	ended   sync.WaitGroup
	closed  atomic.Bool

	mu     sync.RWMutex // of the view
	view   *view
	change sync.Mutex // whoever makes a new view of the old
	active *live      // the last of the view; the committer changes it
	paths  atomic.Pointer[Paths]
	other  atomic.Int64 // bytes of files that were put aside

	failures atomic.Uint64 // of the keeper
	writes   atomic.Uint64 // to journals
}

// Open opens the store in a folder, which is made if need be. It checks the
// indexes that are there: some seconds for ten million events. Another process that has
// the folder open is an error; damaged files are put aside under another name and
// logged.
func Open(dir string, o Options) (*Disk, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.events == 0 {
		o.events = segmentEvents
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	locked, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	d := &Disk{
		options: o, dir: dir, locked: locked, journal: min(maxJournal, o.MaxBytes/8),
		adds: make(chan *adding, 1024), watches: make(chan watching),
		wake: make(chan struct{}, 1), settled: make(chan struct{}, 1), quit: make(chan struct{}),
		view: &view{},
	}
	d.view.users.Store(1)
	if err := d.recover(); err != nil {
		d.view.release()
		locked.Close()
		return nil, fmt.Errorf("history: %w", err)
	}
	d.ended.Go(d.commitLoop)
	d.ended.Go(d.keepLoop)
	if o.Sync > 0 {
		d.ended.Go(d.syncLoop)
	}
	return d, nil
}

// Close implements [Store]. What was added is synced to the disk.
func (d *Disk) Close() error {
	if d.closed.Swap(true) {
		return ErrClosed
	}
	close(d.quit)
	d.ended.Wait()
	d.mu.Lock()
	v := d.view
	d.view = nil
	d.mu.Unlock()
	var err error
	for _, p := range v.parts {
		// Full segments may wait for the keeper, which ended.
		if l, ok := p.(*live); ok && d.options.Sync >= 0 {
			err = errors.Join(err, l.journal.sync())
		}
	}
	v.release()
	d.locked.Close()
	if err != nil {
		return fmt.Errorf("history: sync: %w", err)
	}
	return nil
}

// acquire gives the segments as they are; nil after Close.
func (d *Disk) acquire() *view {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.view != nil {
		d.view.users.Add(1)
	}
	return d.view
}

// publish makes these the segments. The caller holds change.
func (d *Disk) publish(parts []part) {
	v := &view{parts: parts}
	v.users.Store(1)
	for _, p := range parts {
		p.hold()
	}
	d.mu.Lock()
	old := d.view
	d.view = v
	d.mu.Unlock()
	old.release()
}

// replace puts a segment in the place of another, unless that is gone.
func (d *Disk) replace(old, by part) bool {
	d.change.Lock()
	defer d.change.Unlock()
	i := slices.Index(d.view.parts, old)
	if i < 0 {
		return false
	}
	parts := slices.Clone(d.view.parts)
	parts[i] = by
	d.publish(parts)
	return true
}

// room drops the oldest segments until there is room for so many bytes more, and
// those that are too old.
func (d *Disk) room(more int64, now time.Time) {
	d.change.Lock()
	defer d.change.Unlock()
	parts := d.view.parts
	total := more + d.journal + d.other.Load()
	for _, p := range parts {
		total += size(p)
	}
	limit, oldest := d.options.MaxBytes, now.Add(-d.options.MaxAge).UnixMilli()
	if total > limit && d.other.Load() > 0 {
		total -= d.dropOther()
	}
	gone := 0
	for gone < len(parts) {
		s, ok := parts[gone].(*sealed)
		if !ok || total <= limit && s.arrived >= oldest {
			break
		}
		total -= s.bytes()
		gone++
	}
	if gone == 0 {
		return
	}
	d.publish(slices.Clone(parts[gone:]))
	for _, p := range parts[:gone] {
		d.remove(d.file(p.start(), eventsSuffix))
		d.remove(d.file(p.start(), indexSuffix))
	}
}

func size(p part) int64 {
	p.lock()
	defer p.unlock()
	return p.bytes()
}

// The files of a segment are named by the place of its first event.
const (
	eventsSuffix  = ".events"
	indexSuffix   = ".index"
	journalSuffix = ".journal"
	asideSuffix   = ".damaged"
)

func (d *Disk) file(base uint64, suffix string) string {
	return filepath.Join(d.dir, fmt.Sprintf("%016x%s", base, suffix))
}

func (d *Disk) remove(path string) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		d.options.Logger.Error("history file cannot be deleted", "file", path, "error", err)
	}
}

// Stats implements [Store].
func (d *Disk) Stats() (s Stats) {
	v := d.acquire()
	if v == nil {
		return s
	}
	defer v.release()
	watched := d.paths.Load()
	s.Bytes, s.Segments, s.Writes = d.other.Load(), len(v.parts), d.writes.Load()
	for i, p := range v.parts {
		p.lock()
		if i == 0 {
			s.First = p.start()
		}
		s.Next = p.start() + uint64(p.count())
		s.Events += p.count()
		s.Bytes += p.bytes()
		if watched != nil && !p.paths().covers(*watched) {
			s.Unprepared++
		}
		p.unlock()
	}
	return s
}

func (d *Disk) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
