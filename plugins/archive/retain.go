package archive

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// kept is a file that is ended.
type kept struct {
	name string
	day  string // and what makes the order within it
	time time.Time
	size int64
}

// retain removes what is too old or too much, whenever a file has ended and now
// and then, until end.
func (w *writer) retain(end <-chan struct{}) {
	if w.KeepFor == 0 && w.KeepBytes == 0 {
		<-end
		return
	}
	tick := time.NewTicker(retainPace)
	defer tick.Stop()
	for {
		if err := w.prune(time.Now()); err != nil {
			w.log.Error("cannot remove old files", "error", err)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		case <-w.tidy:
		}
	}
}

// prune removes the oldest files of this node, whole ones. What somebody else
// removes meanwhile is as good as removed.
func (w *writer) prune(now time.Time) error {
	var all []kept
	err := fs.WalkDir(w.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || !finished(d.Name(), w.node) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has just gone
		}
		k := kept{name: name, time: info.ModTime(), size: info.Size()}
		if _, day, ok := strings.Cut(path.Dir(name), "/"); ok {
			k.day = day
		}
		all = append(all, k)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b kept) int {
		return cmp.Or(strings.Compare(a.day, b.day), a.time.Compare(b.time), strings.Compare(a.name, b.name))
	})
	var total int64
	for _, k := range all {
		total += k.size
	}
	oldest := now.Add(-w.KeepFor.D()).UTC().Format("2006/01/02")
	removed, freed := 0, int64(0)
	for _, k := range all {
		old := w.KeepFor > 0 && k.day < oldest && now.Sub(k.time) > w.KeepFor.D()
		if !old && (w.KeepBytes == 0 || total <= w.KeepBytes) {
			continue
		}
		if err := w.root.Remove(k.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= k.size
		removed++
		freed += k.size
		w.removeEmpty(path.Dir(k.name))
	}
	if removed > 0 {
		w.log.Info("removed old files", "files", removed, "bytes", freed)
	}
	return nil
}

// removeEmpty removes a day's folder and those above it that are empty; one that
// is not stays, and so does all above.
func (w *writer) removeEmpty(folder string) {
	for folder != "." && w.root.Remove(folder) == nil {
		folder = path.Dir(folder)
	}
}
