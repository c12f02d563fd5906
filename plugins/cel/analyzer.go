package cel

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/stamp"
	pb "github.com/epmesh/epmesh/proto"
)

// analyzer is the running plugin.
type analyzer struct {
	plugins.Instance
	settings

	store store
	set   atomic.Pointer[loadedSet]
}

// loadedSet is a rule set and what was found out with it.
type loadedSet struct {
	*ruleSet
	kept sync.Map // data type -> bool: some search may ask for it
}

func (s *loadedSet) keeps(dataType string) bool {
	if v, ok := s.kept.Load(dataType); ok {
		return v.(bool)
	}
	keeps := s.ruleSet.keeps(dataType)
	s.kept.Store(dataType, keeps)
	return keeps
}

// Run serves until ctx ends and takes changed rules on meanwhile; the history
// stays.
func (a *analyzer) Run(ctx context.Context) error {
	a.store = newMemory(limits{events: a.History.MaxEvents, bytes: a.History.MaxBytes, age: a.History.MaxAge.D()})
	seen := a.stamp()
	a.load()

	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { a.watch(ctx, seen) })
	defer watching.Wait()
	defer cancel()
	return plugins.Serve(ctx, plugins.Options{Name: a.Name, Dir: a.Dir, Logger: a.Logger, Analyze: a.analyze})
}

func (a *analyzer) rulesDir() string { return filepath.Join(a.Dir, a.Rules) }

func (a *analyzer) stamp() [2]uint64 {
	return [2]uint64{stamp.Of(a.rulesDir(), ".yml", ".yaml"), stamp.Of(filepath.Join(a.Dir, "pipeline"), ".yaml")}
}

func (a *analyzer) watch(ctx context.Context, seen [2]uint64) {
	tick := time.NewTicker(a.Reload.D())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if now := a.stamp(); now != seen {
				seen = now
				a.load()
			}
		case <-ctx.Done():
			return
		}
	}
}

// load puts the rules that are there now in the place of those before.
func (a *analyzer) load() {
	rules, report := config.LoadRules(a.rulesDir())
	set, found := compileRules(rules, plugins.LoadConfig(a.Dir))
	for _, p := range append(report, found...) {
		if p.Severity == config.Error {
			a.Logger.Error("rule left out", "at", p.Position.String(), "problem", p.Message, "hint", p.Hint)
		} else {
			a.Logger.Warn("rule", "at", p.Position.String(), "problem", p.Message, "hint", p.Hint)
		}
	}
	a.store.watch(set.terms, set.others)
	a.set.Store(&loadedSet{ruleSet: set})
	a.Logger.Info("rules loaded", "rules", set.count, "left out", len(report.Errors())+len(found.Errors()), "folder", a.rulesDir())
	if set.count == 0 {
		a.Logger.Warn("there are no rules, so there will be no alerts", "folder", a.rulesDir())
	}
}

// analyze holds one event against the rules of its data type.
func (a *analyzer) analyze(_ context.Context, e *pb.Event, emit func(*pb.Alert) error) error {
	set, now := a.set.Load(), time.Now()
	// The event is kept before it is looked at, and looked at as if only what
	// came before were there: of two at once each sees the other or is seen, and
	// one that comes again sees what it saw.
	var place uint64
	if set.keeps(e.DataType) {
		place = a.store.add(e, now)
	}
	rules := set.byType[e.DataType]
	if len(rules) == 0 {
		return nil
	}
	doc := expr.FromEvent(e)
	// Windows end when the event came in, not when it is looked at: a backlog is
	// judged as it would have been.
	end := earlier(eventTime(e, now), now)
	for _, r := range rules {
		if set.isDisabled(r, e.TenantId) {
			continue
		}
		history, holds, err := r.holds(doc, e, a.store, place, end, a.AlertEvents)
		if err != nil {
			a.failed(r, e, err)
			continue
		}
		if holds {
			if err := emit(newAlert(r, e, history, now, a.AlertEvents, a.AlertBytes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds evaluates a rule: its condition, then every search.
func (r *rule) holds(doc expr.Doc, e *pb.Event, st store, place uint64, end time.Time, limit int) ([]*pb.Event, bool, error) {
	if r.where != nil {
		if ok, err := r.where.Eval(doc); err != nil || !ok {
			return nil, false, err
		}
	}
	var history []*pb.Event
	seen := map[string]bool{e.Id: true}
	for i := range r.searches {
		hits, ok, err := r.searches[i].run(st, e, place, end, limit)
		if err != nil || !ok {
			return nil, false, err
		}
		for _, h := range hits {
			if !seen[h.Id] {
				seen[h.Id] = true
				history = append(history, h)
			}
		}
	}
	return history, true, nil
}

// failed logs that a rule could not be evaluated, seldomer the more often it
// happens. The event goes on to the other rules.
func (a *analyzer) failed(r *rule, e *pb.Event, err error) {
	n := r.failures.Add(1)
	if n&(n-1) != 0 || errors.Is(err, context.Canceled) {
		return
	}
	a.Logger.Warn("rule could not be evaluated", "rule", r.proto.Name, "at", r.at.String(), "event", e.Id, "failures", n, "error", err)
}
