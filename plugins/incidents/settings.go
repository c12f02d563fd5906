// Package incidents is the bundled correlation plugin. It leaves equal alerts out
// (deduplicateBy), groups the others into incidents (groupBy), and sends one
// message for each alert: a new incident, an alert more of one, or a duplicate.
//
// What it knows lies in the state that all nodes share, and is changed by
// compare-and-set alone, so that any number of its processes give one answer. A
// value remembers by id what it was changed for, so an alert that comes again
// changes nothing and gets the answer, and the message, of its first time. See
// docs/decisions/incident-state.md.
package incidents

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	Topics topics `json:"topics"`
	// DeduplicateFor is how long an alert keeps equal ones away.
	DeduplicateFor plugins.Duration `json:"deduplicateFor"`
	// GroupBy groups alerts whose own groupBy has no value: by the first of these
	// paths that has one.
	GroupBy []string `json:"groupBy"`
	// CloseAfter is how long an incident may be quiet, MaxOpen how long it may go
	// on, before the next alert of its group opens another.
	CloseAfter plugins.Duration `json:"closeAfter"`
	MaxOpen    plugins.Duration `json:"maxOpen"`
	// MaxChildren is how many of its alerts an incident lists; all are counted.
	MaxChildren int `json:"maxChildren"`
	// Events are how many of an alert's last events a message shows, EventBytes
	// how much of the text of each.
	Events     int `json:"events"`
	EventBytes int `json:"eventBytes"`
	// Cache is how many groups, alerts and first alerts are kept in memory.
	Cache int `json:"cache"`
	// State is "shared", or "memory": of this process, until it ends.
	State string `json:"state"`
	NATS  nats   `json:"nats"`
}

// topics are those of the messages.
type topics struct {
	New       string `json:"new"`
	Update    string `json:"update"`
	Duplicate string `json:"duplicate"` // empty: no message, counted only
}

// nats is how the shared state is reached, where that is not as the node says.
type nats struct {
	URL         string `json:"url"`
	Credentials string `json:"credentials"` // a .creds file
	Context     string `json:"context"`     // a context file of the nats command
}

const (
	stateShared = "shared"
	stateMemory = "memory"
	// keepLonger is how long state is kept after it has had its effect, so that
	// an alert that comes again late still finds it.
	keepLonger = 24 * time.Hour
)

func defaults() settings {
	return settings{
		Topics:         topics{New: "incidents.new", Update: "incidents.update", Duplicate: "incidents.duplicate"},
		DeduplicateFor: plugins.Duration(7 * 24 * time.Hour),
		GroupBy:        []string{"adversary.ip", "adversary.user", "adversary.host", "dataSource"},
		CloseAfter:     plugins.Duration(24 * time.Hour),
		MaxOpen:        plugins.Duration(7 * 24 * time.Hour),
		MaxChildren:    50, Events: 3, EventBytes: 512, Cache: 10_000, State: stateShared,
	}
}

// Defaults is a settings struct with the defaults in it, for whoever documents
// or checks them.
func Defaults() any { return defaults() }

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &correlator{Instance: i, settings: s}, nil
}

func (s settings) check() error {
	var errs []error
	bad := func(format string, v ...any) { errs = append(errs, fmt.Errorf(format, v...)) }
	if s.Topics.New == "" {
		bad("topics.new: may not be empty: an incident that nobody hears of is lost")
	}
	if s.Topics.Update == "" {
		bad("topics.update: may not be empty; give it a topic that no notification plugin takes")
	}
	longest := bridge.MaxStateAge - 2*keepLonger
	for _, d := range []struct {
		name string
		v    plugins.Duration
		min  time.Duration
	}{{"deduplicateFor", s.DeduplicateFor, 0}, {"closeAfter", s.CloseAfter, time.Second}, {"maxOpen", s.MaxOpen, time.Second}} {
		if d.v.D() < d.min || d.v.D() > longest {
			bad("%s: is %s, want %s to %s", d.name, d.v, d.min, longest)
		}
	}
	for _, n := range []struct {
		name        string
		v, min, max int
	}{{"maxChildren", s.MaxChildren, 0, 500}, {"events", s.Events, 0, 20}, {"eventBytes", s.EventBytes, 0, 4096}, {"cache", s.Cache, 1, 1_000_000}} {
		if n.v < n.min || n.v > n.max {
			bad("%s: is %d, want %d to %d", n.name, n.v, n.min, n.max)
		}
	}
	if len(s.GroupBy) > maxPaths {
		bad("groupBy: %d paths, want at most %d", len(s.GroupBy), maxPaths)
	}
	if slices.Contains(s.GroupBy, "") {
		bad("groupBy: a path is empty; want one such as adversary.ip")
	}
	if s.State != stateShared && s.State != stateMemory {
		bad("state: is %q, want %s or %s", s.State, stateShared, stateMemory)
	}
	if s.NATS.URL == "" && s.NATS.Credentials != "" {
		bad("nats.credentials: goes with nats.url: set that too")
	}
	if s.NATS.URL != "" && s.NATS.Context != "" {
		bad("nats.context: names a server, and nats.url too: set one of them")
	}
	return errors.Join(errs...)
}

// keep is how long a key is kept that was not written again.
func (s settings) keep() time.Duration {
	return max(s.DeduplicateFor.D(), s.CloseAfter.D()) + keepLonger
}
