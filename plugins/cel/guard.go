package cel

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// guard keeps one rule, or one tenant, from flooding the mesh: of what is above
// the bounds of a window it holds the alerts back and makes one summary alert,
// which leaves with the first event after the window. An event that comes again
// is given the answer that it was given, and counts once.
type guard struct {
	settings stormSettings
	log      hclog.Logger

	quiet atomic.Int64 // until when, in ns, nothing is due and no answer has a summary

	mu      sync.Mutex
	window  time.Time // its beginning
	storms  map[stormKey]*storm
	due     []*pb.Alert
	answers answers
}

// newGuard makes a guard.
func newGuard(s stormSettings, log hclog.Logger) *guard {
	return &guard{settings: s, log: log, storms: map[stormKey]*storm{}}
}

// maxDue is how many summaries leave with one event.
const maxDue = 16

// pass gives the hits of an event that may leave, and the summaries that leave
// with it.
func (g *guard) pass(e *pb.Event, hits []hit, now time.Time) (passed []hit, summaries []*pb.Alert) {
	if len(hits) == 0 && now.UnixNano() < g.quiet.Load() {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn(now)
	a := g.answers.of(e.Id)
	if a == nil {
		a = &answer{summaries: g.due[:min(len(g.due), maxDue):min(len(g.due), maxDue)]}
		g.due = g.due[len(a.summaries):]
		if len(hits)+len(a.summaries) > 0 {
			g.answers.keep(e.Id, a)
		}
	}
	for _, h := range hits {
		held, known := a.rules[h.rule.key]
		if !known {
			held = g.holds(h, e, now)
			if a.rules == nil {
				a.rules = map[string]bool{}
			}
			a.rules[h.rule.key] = held
		}
		if !held {
			passed = append(passed, h)
		}
	}
	g.rest()
	return passed, a.summaries
}

// rest says until when events without hits need not ask.
func (g *guard) rest() {
	switch {
	case len(g.due) > 0, g.answers.summaries > 0:
		g.quiet.Store(0)
	default:
		g.quiet.Store(g.window.Add(g.settings.Window.D()).UnixNano())
	}
}

// turn begins a new window where it is time, and makes the summaries of the old.
func (g *guard) turn(now time.Time) {
	if g.window.IsZero() {
		g.window = now.Truncate(g.settings.Window.D())
	}
	if now.Before(g.window.Add(g.settings.Window.D())) {
		return
	}
	g.due = append(g.due, g.summaries()...)
	g.window = now.Truncate(g.settings.Window.D())
	clear(g.storms)
}

// summaries are those of the window, in an order that is always the same.
func (g *guard) summaries() []*pb.Alert {
	var list []*pb.Alert
	for key, s := range g.storms {
		if s.held > 0 {
			if key != crowd {
				list = append(list, s.summary(key, g.window, g.settings))
			}
			g.log.Warn("alerts were held back", "rule", s.rule.proto.Name, "rules", len(s.rules), "tenant", key.tenant,
				"held back", s.held, "passed", s.passed, "since", clock(s.first))
		}
	}
	slices.SortFunc(list, func(a, b *pb.Alert) int { return strings.Compare(a.Id, b.Id) })
	return list
}

// crowd is what further keys are counted under once there are too many. It is of
// no one tenant, so no alert is made of it: only the log tells.
var crowd = stormKey{everyTenant, everyTenant}

// storm is what is counted of a key.
func (g *guard) storm(key stormKey) *storm {
	s := g.storms[key]
	if s == nil && len(g.storms) >= maxStormKeys {
		key = crowd
		s = g.storms[key]
	}
	if s == nil {
		s = &storm{}
		g.storms[stormKey{key.rule, strings.Clone(key.tenant)}] = s
	}
	return s
}

// holds counts one alert, and reports whether it is held back.
func (g *guard) holds(h hit, e *pb.Event, now time.Time) bool {
	own := g.storm(stormKey{h.rule.key, e.TenantId})
	tenant := g.storm(stormKey{everyRule, e.TenantId})
	everywhere := g.storm(stormKey{h.rule.key, everyTenant})
	full := func(s *storm, limit int) bool { return limit > 0 && s.passed >= limit }
	switch {
	case full(own, g.settings.Rule):
		g.hold(own, h, e, now, "storm.rule")
		return true
	// A tenant whom a rule has hardly been seen for is not made to pay for others.
	case full(everywhere, g.settings.Everywhere) && own.passed >= fairShare:
		g.hold(own, h, e, now, "storm.everywhere")
		return true
	case full(tenant, g.settings.Tenant):
		g.hold(tenant, h, e, now, "storm.tenant")
		return true
	}
	own.passed++
	tenant.passed++
	everywhere.passed++
	return false
}

// fairShare is how many alerts of a rule every tenant may have in a window,
// however many it has made for others.
const fairShare = 10

func (g *guard) hold(s *storm, h hit, e *pb.Event, now time.Time, bound string) {
	s.hold(h, e, now, bound)
	if s.held == 1 {
		g.log.Warn("alert storm: further alerts are held back until the window ends, and one summary stands for them",
			"rule", h.rule.proto.Name, "tenant", e.TenantId, "passed", s.passed, "bound", bound, "window", g.settings.Window.String())
	}
}

// close logs what no summary can leave for any more.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range append(g.due, g.summaries()...) {
		g.log.Warn("alerts were held back, and no summary could leave before the end", "summary", a.Name, "tenant", a.TenantId, "text", a.Description)
	}
	g.due = nil
	clear(g.storms)
}

// answer is what an event was given.
type answer struct {
	rules     map[string]bool // by rule: whether its alert was held back
	summaries []*pb.Alert
}

// answers are those given last, by the events' ids.
type answers struct {
	byEvent   map[string]*answer
	order     []string // a ring
	next      int
	summaries int // answers that have some
}

// maxAnswers is how many are known. An event comes again within seconds or, after
// a crash, to a process that knows nothing.
const maxAnswers = 20_000

func (a *answers) of(event string) *answer {
	if event == "" {
		return nil
	}
	return a.byEvent[event]
}

func (a *answers) keep(event string, given *answer) {
	if event == "" {
		return
	}
	if a.byEvent == nil {
		a.byEvent = map[string]*answer{}
	}
	event = strings.Clone(event)
	if len(a.order) < maxAnswers {
		a.order = append(a.order, event)
	} else {
		if len(a.byEvent[a.order[a.next]].summaries) > 0 {
			a.summaries--
		}
		delete(a.byEvent, a.order[a.next])
		a.order[a.next] = event
		a.next = (a.next + 1) % maxAnswers
	}
	a.byEvent[event] = given
	if len(given.summaries) > 0 {
		a.summaries++
	}
}
