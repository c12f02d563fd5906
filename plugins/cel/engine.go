package cel

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// Rules are compiled rules. Any number of engines may use them at once.
type Rules struct{ set *ruleSet }

// CompileRules compiles those rules that mean something, with the patterns, the
// tenants and the disabled rules of a configuration, and says what is wrong with
// the others.
func CompileRules(rules []config.Rule, set *config.Set) (*Rules, config.Report) {
	compiled, report := compileRules(rules, set)
	return &Rules{compiled}, report
}

// Names are the rules' names, in the order in which they were read.
func (r *Rules) Names() []string {
	names := make([]string, len(r.set.all))
	for i, x := range r.set.all {
		names[i] = x.proto.Name
	}
	return names
}

// DataTypes are those that rules list.
func (r *Rules) DataTypes() map[string]bool { return r.set.dataTypes() }

// DataTypes are those that the engine's rules list.
func (g *Engine) DataTypes() map[string]bool { return g.set.Load().dataTypes() }

func (rs *ruleSet) dataTypes() map[string]bool {
	types := map[string]bool{}
	for dataType := range rs.byType {
		types[dataType] = true
	}
	return types
}

// Only gives the rules with these names, or ids. A name that no rule has is an
// error.
func (r *Rules) Only(names ...string) (*Rules, error) {
	few := &ruleSet{byType: map[string]*group{}, disabled: r.set.disabled, tenants: r.set.tenants}
	for _, x := range r.set.all {
		if slices.ContainsFunc(names, func(name string) bool { return x.called(name) }) {
			few.add(x)
		}
	}
	for _, name := range names {
		if slices.ContainsFunc(few.all, func(x *rule) bool { return x.called(name) }) {
			continue
		}
		hint := ""
		if near := config.Suggest(name, r.Names()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return nil, fmt.Errorf("no rule is called %q%s", name, hint)
	}
	few.finish()
	return &Rules{few}, nil
}

// called reports whether a rule has a name or id.
func (r *rule) called(name string) bool {
	return r.proto.Name == name || r.proto.Id != 0 && r.key == "id:"+name
}

// EngineOptions bound an Engine. The zero value is the plugin's defaults.
type EngineOptions struct {
	// The history that is kept for searches.
	MaxEvents, MaxBytes int
	MaxAge              time.Duration
	// Logger is told of rules that fail; nil: nobody is.
	Logger hclog.Logger
}

// Engine holds the events of one stream against rules, with the stream itself
// as history and the events' own times as the clock: what is given twice gives
// the same alerts. It is used by one goroutine at a time.
type Engine struct {
	core
	clock time.Time // of the newest event so far
	n     uint64
}

// Engine makes an engine with an empty history.
func (r *Rules) Engine(o EngineOptions) *Engine {
	d := defaults()
	l := history.Limits{Events: o.MaxEvents, Bytes: o.MaxBytes, Age: o.MaxAge}
	if l.Events <= 0 {
		l.Events = d.History.Memory.MaxEvents
	}
	if l.Bytes <= 0 {
		l.Bytes = d.History.Memory.MaxBytes
	}
	if l.Age <= 0 {
		l.Age = d.History.MaxAge.D()
	}
	e := &Engine{}
	if e.log = o.Logger; e.log == nil {
		e.log = hclog.NewNullLogger()
	}
	e.store, e.alertEvents, e.alertBytes = history.NewMemory(l), d.AlertEvents, d.AlertBytes
	e.breakers.settings = d.Breaker
	_ = e.use(r.set) // memory takes all paths
	return e
}

// Analyze gives the alerts of an event. An event without an id is given one, by
// its place in the stream. The event must not change afterwards.
func (g *Engine) Analyze(e *pb.Event) []*pb.Alert {
	now := g.take(e)
	hits, broken, err := g.judge(context.Background(), e, now)
	if err != nil {
		g.log.Error("event could not be held against the rules", "event", e.Id, "error", err)
		return nil
	}
	if len(hits)+len(broken) == 0 {
		return nil
	}
	alerts := make([]*pb.Alert, 0, len(hits)+len(broken))
	for _, h := range hits {
		alerts = append(alerts, g.alert(h, e, windowsEnd(e, now)))
	}
	return append(alerts, broken...)
}

// take moves the clock on: to the event's time, but not ahead of the wall's,
// where one wrong time would let all history go.
func (g *Engine) take(e *pb.Event) time.Time {
	if g.n++; e.Id == "" {
		e.Id = fmt.Sprintf("event-%d", g.n)
	}
	wall := time.Now()
	fallback := g.clock
	if fallback.IsZero() {
		fallback = wall
	}
	if t := earlier(eventTime(e, fallback), wall); t.After(g.clock) {
		g.clock = t
	}
	return g.clock
}
