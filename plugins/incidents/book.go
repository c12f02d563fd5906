package incidents

import (
	"strings"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
)

// incident is the alerts of one source.
type incident struct {
	id     string
	first  time.Time
	last   time.Time
	alerts int
	parent string // the alert that opened it
}

// entry is what is remembered of an alert.
type entry struct {
	alert  string // its id
	at     time.Time
	stored bool // its message is
}

// book is what the plugin knows of the alerts so far.
type book struct {
	settings
	mu        sync.Mutex
	incidents *lru[incident]
	equal     *lru[entry] // by what equal alerts share
	alerts    *lru[entry] // by id
}

func newBook(s settings) *book {
	return &book{settings: s, incidents: newLRU[incident](s.MaxKept), equal: newLRU[entry](s.MaxKept), alerts: newLRU[entry](s.MaxKept)}
}

// verdict is what is to be done with an alert.
type verdict int

const (
	send verdict = iota
	done         // its message is stored
	twin         // an equal alert was there before
)

// take enters an alert and returns the incident it belongs to. The caller sends
// its message and then calls stored, or undo where that failed.
func (b *book) take(a *pb.Alert, now time.Time) (incident, verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	source := sourceOf(a)
	known := b.find(source, now)
	e, again := b.alerts.get(a.Id)
	if again && e.stored {
		return known, done
	}
	if key := equalKey(a); key != "" && b.DeduplicateFor > 0 {
		if first, ok := b.equal.get(key); ok && first.alert != a.Id && now.Sub(first.at) < b.DeduplicateFor.D() {
			return known, twin
		}
		b.equal.put(key, entry{alert: a.Id, at: now})
	}
	if again {
		return known, send
	}
	b.alerts.put(a.Id, entry{alert: a.Id, at: now})
	if known.alerts == 0 {
		known = incident{id: uuid.NewSHA1(space, []byte("incident\x00"+source+"\x00"+a.Id)).String(), first: now, parent: a.Id}
	}
	known.alerts++
	known.last = now
	b.incidents.put(source, known)
	return known, send
}

// find is the open incident of a source; one without alerts if there is none.
func (b *book) find(source string, now time.Time) incident {
	i, ok := b.incidents.get(source)
	if !ok || now.Sub(i.last) > b.CloseAfter.D() {
		return incident{}
	}
	return i
}

// stored notes that the message of an alert is stored.
func (b *book) stored(a *pb.Alert, now time.Time) {
	b.mu.Lock()
	b.alerts.put(a.Id, entry{alert: a.Id, at: now, stored: true})
	b.mu.Unlock()
}

// undo forgets that the alert keeps equal ones away: it has no message yet, and
// comes again or not.
func (b *book) undo(a *pb.Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if key := equalKey(a); key != "" {
		if e, ok := b.equal.get(key); ok && e.alert == a.Id {
			b.equal.remove(key)
		}
	}
}

// sourceOf is what alerts of one incident share: the values that groupBy names,
// or else the adversary's address, user or host, or what sent the events; within
// one tenant.
func sourceOf(a *pb.Alert) string {
	values := []string{a.TenantId}
	for _, path := range a.GroupBy {
		if v := valueOf(a, path); v != "" {
			values = append(values, path, v)
		}
	}
	if len(values) > 1 {
		return strings.Join(values, "\x00")
	}
	for _, path := range []string{"adversary.ip", "adversary.user", "adversary.host", "dataSource"} {
		if v := valueOf(a, path); v != "" {
			return strings.Join(append(values, path, v), "\x00")
		}
	}
	return strings.Join(append(values, "name", a.Name), "\x00")
}

// equalKey is what equal alerts share, by deduplicateBy; "" for an alert that
// equals no other.
func equalKey(a *pb.Alert) string {
	if len(a.DeduplicateBy) == 0 {
		return ""
	}
	values := []string{a.TenantId, a.Name}
	for _, path := range a.DeduplicateBy {
		values = append(values, path, valueOf(a, path))
	}
	return strings.Join(values, "\x00")
}

// valueOf reads a path of groupBy or deduplicateBy: one of the alert, or
// lastEvent.x for its last event. A path of an event, as older rules have it
// ("origin.ip"), is one of the last event.
func valueOf(a *pb.Alert, path string) string {
	var last *pb.Event
	if len(a.Events) > 0 {
		last = a.Events[len(a.Events)-1]
	}
	if rest, ok := strings.CutPrefix(path, "lastEvent."); ok {
		return fields.Text(fields.Get(last, rest))
	}
	if v := fields.Get(a, path); v != nil {
		return fields.Text(v)
	}
	return fields.Text(fields.Get(last, path))
}
