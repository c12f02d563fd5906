package cel

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/stamp"
	pb "github.com/epmesh/epmesh/proto"
)

// analyzer is the running plugin.
type analyzer struct {
	plugins.Instance
	settings

	core
	guard *guard
	peers *bridge.Peers // nil where the history is this instance's alone
}

// Run serves until ctx ends and takes changed rules on meanwhile; the history
// stays.
func (a *analyzer) Run(ctx context.Context) error {
	var err error
	if a.store, err = openHistory(a.Instance, a.History); err != nil {
		return err
	}
	a.prepare()
	defer a.guard.close()
	leave := a.join(ctx)
	seen := a.stamp()
	a.load()

	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { a.watch(ctx, seen) })
	defer watching.Wait()
	defer cancel()
	err = plugins.Serve(ctx, plugins.Options{Name: a.Name, Dir: a.Dir, Logger: a.Logger, Analyze: a.analyze})
	cancel()
	watching.Wait()
	leave() // before the store: the others ask it
	return errors.Join(err, a.store.Close())
}

// prepare gives the parts their settings.
func (a *analyzer) prepare() {
	a.log, a.alertEvents, a.alertBytes = a.Logger, a.AlertEvents, a.AlertBytes
	a.breakers.settings = a.Breaker
	a.guard = newGuard(a.Storm, a.Logger)
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
	report = append(report, found...)
	for _, p := range report {
		if p.Severity == config.Error {
			a.Logger.Error("rule left out", "at", p.Position.String(), "problem", p.Message, "hint", p.Hint)
		} else {
			a.Logger.Warn("rule", "at", p.Position.String(), "problem", p.Message, "hint", p.Hint)
		}
	}
	for _, r := range set.carryOver(a.set.Load(), report) {
		a.Logger.Warn("rule goes on as it was before the mistake", "rule", r.proto.Name, "at", r.at.String())
	}
	if err := a.use(set); err != nil {
		a.Logger.Error("history does not take the paths of the rules; searches are slower", "error", err)
	}
	a.Logger.Info("rules loaded", "rules", set.count, "left out", len(report.Errors()), "folder", a.rulesDir())
	if set.count == 0 {
		a.Logger.Warn("there are no rules, so there will be no alerts", "folder", a.rulesDir())
	}
}

// analyze holds one event against the rules of its data type. What is answered
// for an event comes in the same order each time: the alerts of rules, then what
// there is to say about rules. An error is the history's: the event comes again.
func (a *analyzer) analyze(ctx context.Context, e *pb.Event, emit func(*pb.Alert) error) error {
	now := time.Now()
	hits, broken, err := a.judge(ctx, e, now)
	if err != nil {
		return err
	}
	hits, summaries := a.guard.pass(e, hits, now)
	for _, h := range hits {
		if err := emit(a.alert(h, e, now)); err != nil {
			return err
		}
	}
	for _, list := range [][]*pb.Alert{broken, summaries} {
		for _, al := range list {
			if err := emit(al); err != nil {
				return err
			}
		}
	}
	return nil
}
