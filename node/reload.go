package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/engine"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/stage"
)

// configState is what the node runs with. What is read by others is behind mu.
type configState struct {
	mu     sync.Mutex
	set    *config.Set
	status ConfigStatus

	reloading sync.Mutex // one reload at a time
}

// loadFirst reads the pipeline files at the start. There is nothing to fall
// back to yet: a file with an error is left out, and said to be.
func (n *Node) loadFirst() (*config.Set, *pipeline.Set) {
	set, report := config.Load(n.settings.PipelineDir())
	for _, p := range report {
		if p.Severity == config.Error {
			n.log.Error("pipeline file left out", "problem", p.String())
		}
	}
	pipelines := n.take(set, report)
	if errs := report.Errors(); len(errs) > 0 {
		n.config.mu.Lock()
		n.config.status.Refused = lines(errs)
		n.config.mu.Unlock()
	}
	return set, pipelines
}

// take compiles a set and remembers it as the node's.
func (n *Node) take(set *config.Set, report config.Report) *pipeline.Set {
	pipelines, problems := pipeline.Compile(set, pipeline.Options{StripUnderscore: !n.settings.Pipeline.KeepUnderscores})
	warnings := lines(n.concerning(report.Warnings()))
	for _, p := range problems {
		warnings = append(warnings, p.Error())
	}
	errs, more := checkAffinity(set)
	warnings = append(append(warnings, errs...), more...)
	for _, w := range warnings {
		n.log.Warn("pipeline files", "problem", w)
	}
	n.config.mu.Lock()
	defer n.config.mu.Unlock()
	n.config.set = set
	n.config.status = ConfigStatus{
		Fingerprint: pipelines.Fingerprint(), Loaded: time.Now(), Pipelines: len(set.Pipelines), Warnings: warnings,
	}
	return pipelines
}

func lines(r config.Report) []string {
	var list []string
	for _, p := range r {
		list = append(list, p.String())
	}
	return list
}

// build makes the parts, which nothing runs yet.
func (n *Node) build(pipelines *pipeline.Set) {
	s := n.settings
	n.leases = n.bridge.Leases(bridge.LeaseOptions{})
	n.registry = plugin.NewRegistry(plugin.Options{
		Dir: s.SocketDir(), Logger: n.log.Named("plugins"), InFlight: s.Plugins.InFlight, CallTimeout: s.Plugins.CallTimeout,
		MaxMessage: int(s.Plugins.MaxMessage), MaxReply: int(s.NATS.MaxPayload), NoLane: !s.Plugins.Lane,
	})
	n.processes = plugin.NewProcesses(plugin.ProcessOptions{
		WorkDir: s.Dir, Logger: n.log.Named("plugin"), Node: s.Node, Groups: s.Groups, LogLevel: s.Log.Number(), Mode: s.Mode, NATSURL: s.NATS.URL,
		Guard: n.opts.Guard, Grace: s.Plugins.StopGrace, RestartMin: s.Plugins.RestartMin, RestartMax: s.Plugins.RestartMax,
		Tenure: n.tenure,
	})
	n.parser = stage.NewParser(pipelines, n.registry, n.tallies)
	n.engine = engine.New(engine.Options{
		Dir: s.Dir, Publisher: n.bridge, Dead: deadLetters{n.bridge}, Tenant: s.Tenant,
		MaxLog: int(s.Input.MaxLog), MaxBuffered: int(s.Input.MaxBuffered), Drain: engineDrain, Log: n.log.Named("engine"),
	})
	n.workers = newWorkers(n)
	n.console = n.newConsole()
}

// apply puts a set in place whose consumers are there: pipelines have been
// swapped by the caller where they changed.
func (n *Node) apply(set *config.Set) {
	n.tallies.Want(engineTopics(set))
	n.processes.SetSingletons(set.Mesh.Singletons)
	if err := n.processes.Apply(n.bundled(set)); err != nil {
		n.log.Error("bundled plugins", "error", err)
	}
	n.parser.Restrict(mayParse(set, n.settings.Groups))
	n.workers.Place(set.Mesh)
	n.serveConsumers(set)
}

// serveConsumers has the workers serve what the set, the plugins that are here
// and the node's groups say.
func (n *Node) serveConsumers(set *config.Set) {
	if n.edge() {
		n.workers.Set(n.consumers(set)) // where work is done is for the hub's nodes to say
		return
	}
	n.workers.Set(placed(set, n.settings.Groups, slices.Concat(Consumers(set), n.unlisted(set))))
}

// bundled are the bundled plugins that the set asks for and that may run here,
// as commands.
func (n *Node) bundled(set *config.Set) []plugin.Spec {
	var specs []plugin.Spec
	for served, name := range set.Bundled() {
		if n.opts.Bundled != nil && n.mayRun(set, served, name) {
			specs = append(specs, plugin.Spec{Name: served, Argv: n.opts.Bundled(name, served)})
		}
	}
	return specs
}

// watch reloads the pipeline files whenever they change. The new set is
// compiled, and its consumers are made, before the old one is let go; a set with
// an error is refused whole.
func (n *Node) watch(ctx context.Context) error {
	n.config.mu.Lock()
	seen := n.config.set.Stamp
	n.config.mu.Unlock()
	return config.Watch(ctx, n.settings.PipelineDir(), seen, n.log.Named("config"), func() { _ = n.reload(ctx) })
}

// reload swaps to the pipeline files as they are now, or says why not. It does
// nothing where they are what the node runs.
func (n *Node) reload(ctx context.Context) []string {
	n.config.reloading.Lock()
	defer n.config.reloading.Unlock()
	set, report := config.Load(n.settings.PipelineDir())
	n.config.mu.Lock()
	same := set.Stamp == n.config.set.Stamp && len(n.config.status.Refused) == 0
	n.config.mu.Unlock()
	if same {
		return nil
	}
	refuse := func(reasons []string) []string {
		for _, r := range reasons {
			n.log.Error("pipeline files refused; going on with the ones before", "problem", r)
		}
		n.config.mu.Lock()
		n.config.status.Refused = reasons
		n.config.mu.Unlock()
		return reasons
	}
	if errs := report.Errors(); len(errs) > 0 {
		return refuse(lines(errs))
	}
	if errs, _ := checkAffinity(set); len(errs) > 0 {
		return refuse(errs)
	}
	orphans, err := n.bridge.Ensure(ctx, n.consumers(set))
	if err != nil {
		return refuse([]string{err.Error()})
	}
	n.tellOrphans(orphans)
	n.parser.Swap(n.take(set, report))
	n.apply(set)
	n.log.Info("pipeline files reloaded", "pipelines", len(set.Pipelines))
	return nil
}

// unlisted are consumers of output plugins that serve a socket without being
// listed: they get what is stored from now on, while they are there.
func (n *Node) unlisted(set *config.Set) []bridge.Consumer {
	var list []bridge.Consumer
	if n.edge() {
		return nil // it has no events
	}
	for _, s := range n.registry.Snapshot() {
		if s.Kind != plugin.Output || slices.Contains(set.Order["output"], s.Name) {
			continue
		}
		list = append(list, bridge.EventOutputConsumer(s.Name).WhileThere(), bridge.AlertOutputConsumer(s.Name).WhileThere())
	}
	return list
}

// watchOutputs makes consumers for output plugins as they appear.
func (n *Node) watchOutputs(ctx context.Context) error {
	known := map[string]bool{}
	for {
		changed := n.registry.Changes()
		n.config.mu.Lock()
		set := n.config.set
		n.config.mu.Unlock()
		var fresh []bridge.Consumer
		for _, c := range n.unlisted(set) {
			if !known[c.Name()] {
				fresh = append(fresh, c)
			}
		}
		if len(fresh) > 0 {
			if err := n.bridge.EnsureConsumers(ctx, fresh); err != nil {
				n.log.Error("output plugin", "error", err)
			} else {
				for _, c := range fresh {
					known[c.Name()] = true
					n.log.Info("output plugin is in no order: it gets what is stored from now on, while it is there", "plugin", c.Plugin)
				}
				n.serveConsumers(set)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
