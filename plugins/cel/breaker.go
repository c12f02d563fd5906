package cel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
)

// breakerSettings say what happens to a rule that cannot be evaluated.
type breakerSettings struct {
	// Failures is after how many events within Window, of one tenant, a rule
	// counts as broken and an alert says so.
	Failures int              `json:"failures"`
	Window   plugins.Duration `json:"window"`
	// Disable says which failures turn the rule off besides, for that tenant:
	// "costly" are those that an evaluation took too much, "any" are all.
	Disable string `json:"disable"`
	// Pause is for how long; after it the next failure turns it off again.
	Pause plugins.Duration `json:"pause"`
}

func (s breakerSettings) check(bad func(name string, ok bool, got any, want string)) {
	bad("breaker.failures", s.Failures >= 1 && s.Failures <= 100, s.Failures, "1 to 100")
	bad("breaker.window", s.Window.D() >= time.Second, s.Window, "1s or more")
	bad("breaker.disable", slices.Contains([]string{"costly", "any"}, s.Disable), fmt.Sprintf("%q", s.Disable), "costly or any")
	bad("breaker.pause", s.Pause.D() >= time.Second, s.Pause, "1s or more")
}

// breakers are the rules that failed. A rule has one for each tenant, so that
// nobody turns off another's.
type breakers struct {
	settings breakerSettings

	any    atomic.Bool // that there are some: nearly always there are none
	mu     sync.Mutex
	byRule map[breakerKey]map[string]*breaker // then by tenant
}

// breakerKey is a rule as it is written: one that was changed begins anew.
type breakerKey struct {
	rule  string
	print [sha256.Size]byte
}

// breaker is what is known of one rule's failures for one tenant.
type breaker struct {
	events  []failure // the last ones within the window
	count   uint64
	raised  string // the id of the event whose answer has the alert
	off     time.Time
	skipped uint64 // events while it was off
}

type failure struct {
	event string
	at    time.Time
}

// maxBroken bounds the tenants that a rule has a breaker for; further ones share
// one.
const maxBroken = 1000

func (b *breakers) key(r *rule) breakerKey { return breakerKey{r.key, r.print} }

// find gives a rule's breaker for a tenant; mu must be held.
func (b *breakers) find(r *rule, tenant string, add bool) *breaker {
	tenants := b.byRule[b.key(r)]
	found := tenants[tenant]
	if found == nil && len(tenants) >= maxBroken {
		tenant = ""
		found = tenants[tenant]
	}
	if found != nil || !add {
		return found
	}
	if b.byRule == nil {
		b.byRule = map[breakerKey]map[string]*breaker{}
	}
	if tenants == nil {
		tenants = map[string]*breaker{}
		b.byRule[b.key(r)] = tenants
	}
	found = &breaker{}
	tenants[strings.Clone(tenant)] = found
	b.any.Store(true)
	return found
}

// open reports whether a rule is turned off for the event's tenant.
func (b *breakers) open(r *rule, e *pb.Event, now time.Time) bool {
	if !b.any.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.find(r, e.TenantId, false)
	// The event that turned it off gets the same answer again.
	if f == nil || !now.Before(f.off) || f.raised == e.Id {
		return false
	}
	f.skipped++
	return true
}

// failed counts a failure and logs it, seldomer the more often it happens. It
// gives an alert where this event makes the rule count as broken.
func (b *breakers) failed(log hclog.Logger, r *rule, e *pb.Event, err error, now time.Time) *pb.Alert {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.find(r, e.TenantId, true)
	turnsOff := b.settings.Disable == "any" || expr.Costly(err)
	if f.raised == e.Id && e.Id != "" {
		return brokenAlert(r, e, err, turnsOff, b.settings, now)
	}
	// An event that comes again is one failure.
	if slices.ContainsFunc(f.events, func(x failure) bool { return x.event == e.Id }) {
		return nil
	}
	if f.count++; f.count&(f.count-1) == 0 {
		log.Warn("rule could not be evaluated", "rule", r.proto.Name, "at", r.at.String(), "tenant", e.TenantId, "event", e.Id, "failures", f.count, "error", err)
	}
	f.events = slices.DeleteFunc(f.events, func(x failure) bool { return now.Sub(x.at) > b.settings.Window.D() })
	f.events = append(f.events, failure{strings.Clone(e.Id), now})
	if len(f.events) < b.settings.Failures {
		return nil
	}
	f.events = f.events[1:] // one more is enough the next time
	if turnsOff {
		log.Error("rule is turned off for a tenant", "rule", r.proto.Name, "at", r.at.String(), "tenant", e.TenantId,
			"for", b.settings.Pause.String(), "not held against it the last time", f.skipped, "error", err)
		f.off, f.skipped = now.Add(b.settings.Pause.D()), 0
	}
	if f.raised != "" {
		return nil // it is known
	}
	f.raised = strings.Clone(e.Id)
	return brokenAlert(r, e, err, turnsOff, b.settings, now)
}

// keep forgets the breakers of rules that are not in a set as they were.
func (b *breakers) keep(set *ruleSet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := map[breakerKey]map[string]*breaker{}
	for _, r := range set.all {
		if of, ok := b.byRule[b.key(r)]; ok {
			kept[b.key(r)] = of
		}
	}
	b.byRule = kept
	b.any.Store(len(kept) > 0)
}

// maxBrokenText bounds an error's text in an alert.
const maxBrokenText = 500

// brokenAlert says that a rule is broken. Its id derives from the rule and the
// tenant: there is one until the rule is changed.
func brokenAlert(r *rule, e *pb.Event, err error, off bool, s breakerSettings, now time.Time) *pb.Alert {
	text := err.Error()
	if len(text) > maxBrokenText {
		text = strings.ToValidUTF8(text[:maxBrokenText], "") + "..."
	}
	var missing missingError
	what := "It stays on for events that it can be evaluated for; it says nothing about those that it cannot."
	switch {
	case off:
		what = fmt.Sprintf("It is turned off for this tenant for %s, and again with the next failure after that.", s.Pause)
	case errors.As(err, &missing):
		what += " Ask for the field in the rule's condition, with exists."
	}
	stamp := windowsEnd(e, now).UTC().Format(time.RFC3339Nano)
	return &pb.Alert{
		Id:   uuid.NewSHA1(alertSpace, fmt.Appendf(nil, "breaker\x00%s\x00%x\x00%s", r.key, r.print, e.TenantId)).String(),
		Name: "Circuit Breaker: " + r.proto.Name, Category: "Circuit Breaker",
		Description: fmt.Sprintf("The rule %q (%s) could not be evaluated for %d events of this tenant within %s. %s\nThe last error: %s",
			r.proto.Name, r.at, s.Failures, s.Window, what, text),
		Timestamp: stamp, LastUpdate: stamp, ImpactScore: 1, Severity: severities[1],
		TenantId: e.TenantId, TenantName: e.TenantName, DataType: e.DataType, DataSource: e.DataSource,
		Events: []*pb.Event{e},
	}
}
