package history

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/plugins/internal/durable"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// recover reads what is in the folder. An error is one of the system; damage is
// none.
func (d *Disk) recover() error {
	if err := d.readSecret(); err != nil {
		return err
	}
	bases := map[string][]uint64{}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		suffix := filepath.Ext(entry.Name())
		switch suffix {
		case ".tmp":
			d.remove(filepath.Join(d.dir, entry.Name()))
		case asideSuffix:
			if info, err := entry.Info(); err == nil {
				d.other.Add(info.Size())
			}
		}
		base, err := strconv.ParseUint(strings.TrimSuffix(entry.Name(), suffix), 16, 64)
		if err == nil {
			bases[suffix] = append(bases[suffix], base) // in order, as the names are
		}
	}
	var parts []part
	for _, base := range bases[eventsSuffix] {
		s, err := d.openSegment(base)
		if err != nil {
			return err
		}
		if s != nil {
			parts = append(parts, s)
		}
	}
	for _, base := range bases[journalSuffix] {
		if slices.ContainsFunc(parts, func(p part) bool { return p.start() == base }) {
			d.remove(d.file(base, journalSuffix)) // the end came between sealing and this
			continue
		}
		l, err := d.openJournal(base)
		if err != nil {
			return err
		}
		if l != nil {
			parts = append(parts, l)
		}
	}
	for _, base := range bases[indexSuffix] {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.start() == base }) {
			d.remove(d.file(base, indexSuffix))
		}
	}
	return d.assemble(parts)
}

// assemble makes a view of parts; the last has to be live, the others not empty.
func (d *Disk) assemble(parts []part) error {
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.start(), b.start()) })
	next, last := uint64(0), (*live)(nil)
	var full []part
	for i, p := range parts {
		l, ok := p.(*live)
		switch {
		case ok && i == len(parts)-1:
			last = l
		case ok && l.count() == 0:
			d.remove(l.journal.path)
			_ = l.journal.file.Close()
		default:
			full = append(full, p)
			next = p.start() + uint64(p.count())
		}
	}
	if last == nil {
		var err error
		if last, err = d.begin(next, Paths{}); err != nil {
			for _, p := range full {
				p.hold()
				p.release()
			}
			return err
		}
	}
	d.active = last
	d.publish(append(full, last))
	return nil
}

// openSegment opens a full segment; nil where it is damaged and was put aside.
func (d *Disk) openSegment(base uint64) (*sealed, error) {
	path, index := d.file(base, eventsSuffix), d.file(base, indexSuffix)
	e, err := openEvents(path)
	if err == nil && e.base != base {
		e.close()
		err = damaged("it begins at another place than its name says")
	}
	if err != nil {
		return nil, d.aside(path, err)
	}
	x, err := openIndex(index, e, d.secret.proof())
	if err == nil {
		return &sealed{events: e, index: x}, nil
	}
	d.options.Logger.Warn("history index is made anew", "file", index, "reason", err)
	data, err := d.indexOf(e, Paths{})
	if err == nil {
		err = writeIndex(index, data)
	}
	e.close()
	if err != nil {
		return nil, d.aside(path, err)
	}
	return openSealed(path, index, d.secret.proof())
}

// indexOf makes the index of an events file.
func (d *Disk) indexOf(e *events, p Paths) (data []byte, err error) {
	defer guard(&err)()
	order, err := e.order()
	if err != nil {
		return nil, err
	}
	k := newKeyer(d.secret, p)
	b := newBuilder(k.paths)
	ids := make([]uint64, e.size)
	var keys []uint64
	var scratch, buffer []byte
	var bodies [][]byte
	for i := range e.blockCount() {
		if bodies, buffer, err = e.bodies(i, buffer); err != nil {
			return nil, err
		}
		for j, body := range bodies {
			event := new(pb.Event)
			if err := proto.Unmarshal(body, event); err != nil {
				return nil, damaged("an event of block %d: %v", i, err)
			}
			n := order[e.first(i)+j]
			keys = k.keys(event, keys[:0], &scratch)
			ids[n] = keys[0]
			b.place(n, keys, event.DataType)
		}
	}
	b.sort()
	return encodeIndex(b, ids, e.base, d.secret.proof()), nil
}

// openJournal reads a journal and cuts off an end that is not whole; nil where
// nothing of it can be read and it was put aside.
func (d *Disk) openJournal(base uint64) (l *live, err error) {
	path := d.file(base, journalSuffix)
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	defer m.close()
	good, bad, err := d.replay(&l, m, base)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, d.aside(path, bad)
	}
	if l.journal.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if bad != nil {
		d.options.Logger.Warn("history journal is cut where it is not whole", "file", path, "events", l.count(), "bytes lost", int64(len(m.data))-good, "reason", bad)
		if err := l.journal.file.Truncate(good); err != nil {
			l.journal.file.Close()
			return nil, err
		}
	}
	return l, nil
}

func (d *Disk) replay(into **live, m mapping, base uint64) (good int64, bad, err error) {
	defer guard(&err)()
	var scratch []byte
	good, bad = parseJournal(m.data, func(b uint64, p Paths) {
		if b == base {
			*into = newLive(base, newKeyer(d.secret, p), &journal{path: m.path})
		}
	}, func(when, arrived int64, body []byte) error {
		l := *into
		if l == nil || l.count() >= segmentEvents {
			return damaged("it belongs to other events")
		}
		e := new(pb.Event)
		if err := proto.Unmarshal(body, e); err != nil {
			return err
		}
		l.put(l.keyer.keys(e, nil, &scratch), e.DataType, when, arrived, len(body))
		return nil
	})
	if l := *into; l != nil {
		// The offsets were counted from 0, for the length of the beginning was not
		// known.
		begin := good - l.offsets[len(l.offsets)-1]
		for i := range l.offsets {
			l.offsets[i] += begin
		}
		l.journal.size = good
	}
	return good, bad, nil
}

// aside gives a damaged file another name. Other errors are returned.
func (d *Disk) aside(path string, err error) error {
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	var size int64
	if info, serr := os.Stat(path); serr == nil {
		size = info.Size()
	}
	if rerr := os.Rename(path, path+asideSuffix); rerr != nil {
		return rerr
	}
	d.other.Add(size)
	d.options.Logger.Error("history file is damaged and put aside; its events are not found any more", "file", path+asideSuffix, "bytes", size, "reason", err)
	return nil
}

// condemn puts aside a segment that turned out to be damaged, so that not every
// search over it fails until it is old. It is false where that cannot be done.
func (d *Disk) condemn(s *sealed, reason error) bool {
	d.change.Lock()
	defer d.change.Unlock()
	i := slices.IndexFunc(d.view.parts, func(p part) bool { return p.start() == s.base })
	if i < 0 || d.view.parts[i] != part(s) {
		return true // somebody did it, or it is too old, or has a new index
	}
	if err := d.aside(d.file(s.base, eventsSuffix), reason); err != nil {
		d.options.Logger.Error("damaged history file cannot be put aside", "segment", s.path(), "error", err)
		return false
	}
	d.publish(slices.Delete(slices.Clone(d.view.parts), i, i+1))
	d.remove(d.file(s.base, indexSuffix))
	return true
}

// dropOther deletes what was put aside and tells how many bytes that was.
func (d *Disk) dropOther() int64 {
	files, _ := filepath.Glob(filepath.Join(d.dir, "*"+asideSuffix))
	for _, f := range files {
		d.remove(f)
	}
	return d.other.Swap(0)
}

// readSecret reads the key of the hashes, or makes one. Where it is lost, indexes
// are made anew.
func (d *Disk) readSecret() error {
	path := filepath.Join(d.dir, "key")
	b, err := os.ReadFile(path)
	if err == nil && len(b) == len(d.secret)+4 && string(b[len(d.secret):]) == "key\n" {
		copy(d.secret[:], b)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := rand.Read(d.secret[:]); err != nil {
		return fmt.Errorf("random key: %w", err)
	}
	return durable.WriteFile(path, func(f *os.File) error {
		_, err := f.Write(append(slices.Clone(d.secret[:]), "key\n"...))
		return err
	})
}
