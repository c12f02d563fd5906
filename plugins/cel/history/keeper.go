package history

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/durable"
	"github.com/klauspost/compress/zstd"
)

// keepLoop seals full segments, drops old ones and indexes paths that are watched
// since.
func (d *Disk) keepLoop() {
	packer, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for d.keepOnce(packer) {
			select {
			case <-d.quit:
				return
			default:
			}
		}
		select {
		case <-d.wake:
		case <-tick.C:
		case <-d.quit:
			return
		}
		d.room(0, time.Now())
	}
}

// keepOnce does one thing, if there is one that can be done.
func (d *Disk) keepOnce(packer *zstd.Encoder) bool {
	v := d.acquire()
	defer v.release()
	for _, p := range v.parts[:len(v.parts)-1] {
		if l, ok := p.(*live); ok {
			return d.done("seal", l.base, d.seal(l, packer))
		}
	}
	watched := d.paths.Load()
	for i := len(v.parts) - 1; watched != nil && i >= 0; i-- {
		if s, ok := v.parts[i].(*sealed); ok && !s.index.paths.covers(*watched) {
			err := d.reindex(s, *watched)
			if errors.Is(err, errDamaged) && d.condemn(s, err) {
				return true
			}
			return d.done("index", s.base, err)
		}
	}
	return false
}

// done logs what went wrong, seldomer the more often it does.
func (d *Disk) done(what string, base uint64, err error) bool {
	if err == nil {
		return true
	}
	if n := d.failures.Add(1); n&(n-1) == 0 {
		d.options.Logger.Error("history segment cannot be written; it is tried again", "doing", what, "segment", fmt.Sprintf("%016x", base), "failures", n, "error", err)
	}
	return false
}

// seal makes an events file and an index of a full segment.
func (d *Disk) seal(l *live, packer *zstd.Encoder) error {
	d.room(0, time.UnixMilli(l.index.arrived))
	events, index := d.file(l.base, eventsSuffix), d.file(l.base, indexSuffix)
	s, err := d.write(l, events, index, packer)
	if err != nil {
		d.remove(events)
		d.remove(index)
		return err
	}
	if !d.replace(l, s) {
		s.hold()
		s.release()
		return nil
	}
	d.remove(l.journal.path)
	d.poke(d.settled)
	return nil
}

func (d *Disk) write(l *live, events, index string, packer *zstd.Encoder) (*sealed, error) {
	if err := writeIndex(index, encodeIndex(l.index, l.ids, l.base, d.secret.proof())); err != nil {
		return nil, err
	}
	err := durable.WriteFile(events, func(f *os.File) error {
		w, err := newEventsWriter(f, packer)
		if err != nil {
			return err
		}
		order := l.index.byType()
		for _, n := range order {
			body, err := l.journal.record(l.offsets[n], l.offsets[int(n)+1])
			if err == nil {
				err = w.add(body)
			}
			if err != nil {
				return err
			}
		}
		return w.finish(l.base, l.index, order)
	})
	if err != nil {
		return nil, err
	}
	return openSealed(events, index, d.secret.proof())
}

// reindex makes the index of a segment anew.
func (d *Disk) reindex(s *sealed, p Paths) error {
	data, err := d.indexOf(s.events, p)
	if err != nil {
		return err
	}
	path := d.file(s.base, indexSuffix)
	if err := writeIndex(path, data); err != nil {
		return err
	}
	fresh, err := openSealed(d.file(s.base, eventsSuffix), path, d.secret.proof())
	if err == nil && d.replace(s, fresh) {
		return nil
	}
	// It was dropped meanwhile.
	if fresh != nil {
		fresh.hold()
		fresh.release()
	}
	if _, gone := os.Stat(d.file(s.base, eventsSuffix)); gone != nil {
		d.remove(path)
		return nil
	}
	return err
}

// syncLoop brings what was added to the disk now and then.
func (d *Disk) syncLoop() {
	tick := time.NewTicker(d.options.Sync)
	defer tick.Stop()
	var synced *live
	events := 0
	for {
		select {
		case <-tick.C:
		case <-d.quit:
			return
		}
		v := d.acquire()
		for _, p := range v.parts {
			l, ok := p.(*live)
			if !ok {
				continue
			}
			l.lock()
			n := l.count()
			l.unlock()
			if l == synced && n == events {
				continue
			}
			if err := l.journal.sync(); err != nil {
				d.done("sync", l.base, err)
				continue
			}
			synced, events = l, n
		}
		v.release()
	}
}
