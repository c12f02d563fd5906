package lint

import (
	"strings"

	"github.com/epmesh/epmesh/config"
)

// draft is what is known of the fields of a log at one point of its way: a field
// that is neither written nor possible cannot be there.
type draft struct {
	written pathSet[config.Position]
	folded  map[string]string // written paths by what they are without case and _
	gone    pathSet[gone]
	// log and all are set once fields that nobody names may be below log, or
	// anywhere.
	log, all bool
	values   map[string][]written
}

// gone is how a field went away.
type gone struct {
	at  config.Position
	how string
}

func newDraft() *draft {
	return &draft{
		written: newPathSet[config.Position](), folded: map[string]string{},
		gone: newPathSet[gone](), values: map[string][]written{},
	}
}

// isGone tells whether a field was there and is not any more.
func (d *draft) isGone(path string) (gone, bool) { return d.gone.over(path) }

// named reports whether a step writes the path, or something above or below it,
// under that name.
func (d *draft) named(path string) bool {
	first, _, _ := strings.Cut(path, ".")
	// More than a plain path may mean anything.
	return envelope[first] || strings.ContainsAny(path, `\*?#|@`) || d.written.touches(path)
}

// mayExist reports whether a field can be there.
func (d *draft) mayExist(path string) bool {
	if _, is := d.isGone(path); is {
		return false
	}
	return d.all || d.log && within(path, "log") || d.named(path)
}

func (d *draft) write(path string, at config.Position) {
	d.written.put(path, at)
	d.folded[fold(path)] = path
	d.gone.dropOver(path)
	d.gone.drop(path)
}

func (d *draft) remove(path string, g gone) {
	d.gone.put(path, g)
	d.written.drop(path)
}

// open makes everything possible below a field, or anywhere for "".
func (d *draft) open(outer string) {
	if outer == "" {
		d.all = true
		d.gone.clear()
		clear(d.values)
		return
	}
	d.log = true
	for p := range d.values {
		if within(p, outer) {
			delete(d.values, p)
		}
	}
	d.gone.drop(outer)
}

// sibling is a written path that differs from one only in case, _ and -.
func (d *draft) sibling(path string) string {
	if _, ok := d.written.at[path]; ok {
		return ""
	}
	other := d.folded[fold(path)]
	if _, still := d.written.at[other]; !still || other == path {
		return ""
	}
	return other
}
