package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/plugin"
)

// answerStatus answers the status request.
func (n *Node) answerStatus() ([]byte, error) { return json.Marshal(n.Status()) }

// Status is how the node stands now.
func (n *Node) Status() Status {
	n.config.mu.Lock()
	set, configStatus := n.config.set, n.config.status
	n.config.mu.Unlock()
	s := Status{
		Node: n.settings.Node, Version: n.opts.Version, Since: n.began, Ready: true, Durability: n.durability,
		Config: configStatus, Revision: n.revisions.Report(), Addresses: n.addresses(), Plugins: n.pluginStatus(set),
	}
	s.Events.Flawed, s.Events.VanishedFields = n.parser.Flaws()
	for _, p := range n.parts() {
		if !p.Ready {
			s.Ready, s.NotReady = false, append(s.NotReady, p.Name+": "+p.Reason)
		}
	}
	if n.hub != nil {
		hub := n.hub.Status()
		s.Hub = &hub
	}
	now := time.Now()
	for _, in := range n.engine.Inputs() {
		dead := uint64(0)
		for _, c := range in.Refused {
			dead += c
		}
		s.Input = append(s.Input, InputStatus{
			Kind: in.Kind, Received: in.Received, Stored: in.Stored, Dead: dead, InFlight: in.InFlight, Streams: in.Streams,
			Rate: n.rates.of("input "+in.Kind, now, int64(in.Received)),
		})
	}
	pending, lag := n.behind()
	s.Behind = lag.behind()
	for _, w := range n.workers.current() {
		behind := lag.of(w)
		st := StageStatus{
			Stage: w.consumer.Stage, Plugin: w.consumer.Plugin, Consumer: w.String(), Serving: w.serving.Load(),
			Counts: w.stats.Snapshot(), Pending: -1, Rate: n.rates.of(w.String(), now, w.done()),
			LagItems: behind.Items, LagSeconds: lagSeconds(behind),
			Limit: n.settings.Plugins.InFlight, Busy: w.took.Snapshot().Sum.Seconds(),
		}
		if l := int(st.Counts.Limit); l > 0 {
			st.Limit = min(st.Limit, l)
		}
		if p, ok := pending[w.String()]; ok {
			st.Pending = p
		}
		st.Affinity = w.affinity()
		if !st.Serving || w.client != nil && !w.client.Live() {
			st.Waiting = fmt.Sprintf("for %s", plugin.SocketName(socketKind(w.consumer), w.consumer.Plugin))
		}
		if s.Hub != nil && s.Hub.Reason != "" {
			st.Waiting = "for the hub: " + s.Hub.Reason
		}
		s.Stages = append(s.Stages, st)
	}
	return s
}

func (n *Node) addresses() Addresses {
	a := Addresses{Engine: n.engine.Path(), HTTP: n.console.Addr()}
	if n.server != nil {
		if addr := n.server.Addr(); addr != "" {
			a.NATS = "nats://" + addr
		}
	} else {
		a.NATS = n.settings.NATS.Redacted().URL
	}
	for _, p := range n.processes.Snapshot() {
		if len(p.Listening) > 0 {
			if a.Plugins == nil {
				a.Plugins = map[string][]plugin.Listening{}
			}
			a.Plugins[p.Name] = p.Listening
		}
	}
	return a
}

// pluginStatus puts what is known by socket and what is known by process
// together.
func (n *Node) pluginStatus(set *config.Set) []PluginStatus {
	var list []PluginStatus
	processes := map[string]*plugin.ProcessStatus{}
	for _, p := range n.processes.Snapshot() {
		processes[p.Name] = &p
	}
	served := map[string]bool{}
	for _, s := range n.registry.Snapshot() {
		served[s.Name] = true
		list = append(list, PluginStatus{
			Name: s.Name, Kind: string(s.Kind), State: stateOf(s, processes[s.Name]), Socket: &s, Process: processes[s.Name], Note: n.note(set, s),
		})
	}
	bundled := set.Bundled()
	for name, p := range processes {
		if served[name] {
			continue
		}
		st := PluginStatus{Name: name, State: string(p.State), Process: p}
		if b, ok := bundled[name]; ok && n.opts.BundledKind != nil {
			st.Kind = n.opts.BundledKind(b)
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b PluginStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// note says what a person would wonder about.
func (n *Node) note(set *config.Set, s plugin.Status) string {
	if n.edge() {
		return "gets nothing: an edge only forwards"
	}
	switch s.Kind {
	case plugin.Analysis, plugin.Correlation, plugin.Notification:
		if !slices.Contains(set.Order[string(s.Kind)], s.Name) {
			return fmt.Sprintf("gets nothing: list it in plugins.%s.order", s.Kind)
		}
	case plugin.Parsing:
		if !slices.Contains(set.DynamicPlugins(), s.Name) {
			return "gets nothing: no dynamic step names it"
		}
	case plugin.Output:
		if !slices.Contains(set.Order["output"], s.Name) {
			return "gets what is stored while it is there; list it in plugins.output.order to have it kept while it is away"
		}
	}
	return ""
}

// waitReady tells Options.Ready once all that the configuration asks for runs.
func (n *Node) waitReady(ctx context.Context, set *config.Set) error {
	if n.opts.Ready == nil {
		<-ctx.Done()
		return nil
	}
	slow := time.After(10 * time.Second)
	for {
		plugins, processes := n.registry.Changes(), n.processes.Changes()
		missing := n.missing(set)
		if len(missing) == 0 {
			n.opts.Ready(n.addresses())
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-plugins:
		case <-processes:
		case <-slow:
			n.log.Warn("not ready yet", "waiting for", missing)
		}
	}
}

// missing are the bundled plugins that do not serve yet.
func (n *Node) missing(set *config.Set) []string {
	var list []string
	processes := map[string]plugin.ProcessStatus{}
	for _, p := range n.processes.Snapshot() {
		processes[p.Name] = p
	}
	for served, name := range set.Bundled() {
		if !n.mayRun(set, served, name) {
			continue
		}
		p := processes[served]
		if p.State == plugin.Standby {
			continue // another node runs it
		}
		ok := p.State == plugin.Running
		if n.opts.Announces != nil && n.opts.Announces(name) {
			ok = ok && len(p.Listening) > 0
		}
		for _, kind := range []plugin.Kind{plugin.Analysis, plugin.Correlation, plugin.Notification} {
			if slices.Contains(set.Order[string(kind)], served) {
				ok = ok && n.registry.Client(kind, served).Live()
			}
		}
		if !ok {
			list = append(list, served)
		}
	}
	slices.Sort(list)
	return list
}
