package incidents

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// group is what is stored of the alerts that share their values: the incident
// that is open, or was last, and the alerts that the value was changed for. It is
// JSON, so that a person can read it.
type group struct {
	Version  int       `json:"v"`
	Incident *incident `json:"incident,omitempty"`
	// Recent are the alerts that were taken last, oldest first. An older one has a
	// record of its own.
	Recent []entry `json:"recent"`
	// Moved is the latest time at which any was raised that has such a record, 0
	// where none has. An alert that was raised later has none.
	Moved int64 `json:"moved,omitempty"`
	// Gone is how many have one.
	Gone int `json:"gone,omitempty"`
	// Early are duplicates that came before the alert that they equal.
	Early int `json:"early,omitempty"`
}

const (
	valueVersion = 1
	// maxRecent is how many alerts a value remembers by itself before it may be
	// made to remember keepRecent only; from mustForget on it is.
	maxRecent  = 48
	mustForget = 96
	keepRecent = 16
	// maxNames bounds the names and targets that an incident lists.
	maxNames = 20
	// maxValue bounds a stored value that is read, in bytes.
	maxValue = 1 << 20
)

// incident is alerts that belong together. Its lists only grow at their end, and
// an entry remembers how long they were, so that what was said once can be said
// again.
type incident struct {
	Parent     string   `json:"parent"` // the alert that opened it
	Name       string   `json:"name"`
	First      int64    `json:"first"`
	Last       int64    `json:"last"`
	Severity   int      `json:"severity"`
	Alerts     int      `json:"alerts"`
	Duplicates int      `json:"duplicates,omitempty"`
	Children   []string `json:"children,omitempty"`
	Names      []string `json:"names,omitempty"`
	Targets    []string `json:"targets,omitempty"`
}

// includes reports whether the lists are as long as when an entry of the incident
// was made: in an older copy they are not.
func (i *incident) includes(e entry) bool {
	return i != nil && i.Parent == e.Parent && i.Alerts >= e.Alerts
}

// kind says what became of an alert.
type kind string

const (
	opened    kind = "new"       // it is an incident's first, and the parent of the others
	joined    kind = "update"    // it is a child
	duplicate kind = "duplicate" // it equals an earlier one
)

// entry is what became of one alert: all that its message needs besides the
// alert itself and the incident's lists.
type entry struct {
	ID     string `json:"id"`
	Kind   kind   `json:"kind"`
	Of     string `json:"of,omitempty"` // the alert that a duplicate equals
	Parent string `json:"parent,omitempty"`
	Raised int64  `json:"raised,omitempty"`
	At     int64  `json:"at"`

	// The incident once it was taken.
	First      int64 `json:"first,omitempty"`
	Last       int64 `json:"last,omitempty"`
	Severity   int   `json:"severity"`
	Rose       bool  `json:"rose,omitempty"` // to that
	Alerts     int   `json:"alerts,omitempty"`
	Duplicates int   `json:"duplicates,omitempty"`
	Children   int   `json:"children,omitempty"` // how long its lists were
	Names      int   `json:"names,omitempty"`
	Targets    int   `json:"targets,omitempty"`
}

func (g *group) find(id string) *entry {
	for i := len(g.Recent) - 1; i >= 0; i-- {
		if g.Recent[i].ID == id {
			return &g.Recent[i]
		}
	}
	return nil
}

// moved reports whether an alert raised then may have a record of its own.
func (g *group) moved(raised int64) bool {
	return g.Moved != 0 && (raised == 0 || raised <= g.Moved)
}

// open reports whether the incident is open for an alert of that time.
func (g *group) open(at int64, s *settings) bool {
	i := g.Incident
	return i != nil && at-i.Last < s.CloseAfter.D().Milliseconds() && at-i.First < s.MaxOpen.D().Milliseconds()
}

// add takes an alert that is no duplicate.
func (g *group) add(f *facts, s *settings) entry {
	k := joined
	if !g.open(f.at, s) {
		k = opened
		g.Incident = &incident{Parent: f.id, Name: f.name, First: f.at, Last: f.at, Severity: f.severity, Duplicates: g.Early}
		g.Early = 0
	}
	i := g.Incident
	i.Alerts++
	i.First, i.Last = min(i.First, f.at), max(i.Last, f.at)
	rose := f.severity > i.Severity
	i.Severity = max(i.Severity, f.severity)
	if k == joined && len(i.Children) < s.MaxChildren {
		i.Children = append(i.Children, f.id)
	}
	i.Names = note(i.Names, f.name)
	i.Targets = note(i.Targets, f.target)
	return g.remember(entry{ID: f.id, Kind: k, Raised: f.raised, At: f.at, Rose: rose})
}

func note(list []string, name string) []string {
	if name == "" || len(list) >= maxNames || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// repeat takes an alert that equals an earlier one. It keeps an open incident
// open and reopens none.
func (g *group) repeat(id, of string, raised, at int64, s *settings) entry {
	if i := g.Incident; i == nil {
		g.Early++
	} else {
		if g.open(at, s) {
			i.Last = max(i.Last, at)
		}
		i.Duplicates++
	}
	return g.remember(entry{ID: id, Kind: duplicate, Of: of, Raised: raised, At: at})
}

func (g *group) remember(e entry) entry {
	if i := g.Incident; i != nil {
		e.Parent, e.First, e.Last, e.Severity = i.Parent, i.First, i.Last, i.Severity
		e.Alerts, e.Duplicates = i.Alerts, i.Duplicates
		e.Children, e.Names, e.Targets = len(i.Children), len(i.Names), len(i.Targets)
	} else {
		e.Duplicates = g.Early
	}
	g.Recent = append(g.Recent, e)
	return e
}

// forget drops the first n alerts, which have records of their own now.
func (g *group) forget(n int) {
	for _, e := range g.Recent[:n] {
		g.Moved = max(g.Moved, e.Raised, 1)
	}
	g.Gone += n
	g.Recent = g.Recent[n:]
}

// clone is a copy that may be changed; what only grows is shared.
func (g *group) clone() *group {
	c := *g
	if g.Incident != nil {
		i := *g.Incident
		i.Children, i.Names, i.Targets = slices.Clip(i.Children), slices.Clip(i.Names), slices.Clip(i.Targets)
		c.Incident = &i
	}
	c.Recent = slices.Clip(g.Recent)
	return &c
}

func (g *group) encode() ([]byte, error) {
	g.Version = valueVersion
	return json.Marshal(g)
}

// decodeGroup reads a stored value. One of a later version, or that is not ours,
// is an error: to write over it would lose what it knows.
func decodeGroup(data []byte) (*group, error) {
	g := new(group)
	if err := decode(data, g); err != nil {
		return nil, err
	}
	if g.Version != valueVersion {
		return nil, fmt.Errorf("%w: stored by version %d of the format, this is %d: bring this node up to date", errUnreadable, g.Version, valueVersion)
	}
	return g, nil
}

// errUnreadable is wrapped by errors about values that no attempt makes readable.
var errUnreadable = errors.New("a stored value cannot be read")

func decode(data []byte, into any) error {
	if len(data) > maxValue {
		return fmt.Errorf("%w: it has %d bytes, more than the %d that any of ours can have", errUnreadable, len(data), maxValue)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return nil
}

// maxBefore bounds the earlier groups that a claim remembers.
const maxBefore = 8

// claim says which alert is the first of those that equal each other.
type claim struct {
	Alert  string   `json:"alert"`
	Raised int64    `json:"raised,omitempty"`
	At     int64    `json:"at"`               // from when it keeps equal ones away
	Group  string   `json:"group"`            // where it is, or will be
	Before []string `json:"before,omitempty"` // the groups of the firsts before it, the latest first
	Made   int64    `json:"made"`
}
