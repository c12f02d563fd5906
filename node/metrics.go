package node

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/console"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/telemetry"
)

func (n *Node) newConsole() *console.Server {
	registry := telemetry.NewRegistry(telemetry.Sources{
		Build:  telemetry.Build{Version: n.opts.Version, Node: n.settings.Node},
		Inputs: n.engine, Stages: n, Events: n.parser, Plugins: n, InputToAlert: n.toAlert, LeaseLosses: n.leases.Losses,
		Hub: n.hubState(),
	})
	return console.New(console.Options{
		Listen: n.settings.HTTP.Listen, Node: n.settings.Node, Metrics: telemetry.Handler(registry, n.log.Named("metrics")),
		Parts: n.parts, Log: n.log.Named("http"),
	})
}

func (n *Node) consoleServices() []Service {
	if n.settings.HTTP.Listen == "" {
		return nil
	}
	return []Service{n.console}
}

func (n *Node) consoleReady() <-chan struct{} {
	if n.settings.HTTP.Listen == "" {
		now := make(chan struct{})
		close(now)
		return now
	}
	return n.console.Ready()
}

// parts are what /readyz goes by: whether the node can take logs and keep them.
func (n *Node) parts() []console.Part {
	nats := console.Part{Name: "nats", Ready: n.bridge.Connected()}
	if !nats.Ready {
		nats.Reason = "the NATS server cannot be reached; logs are held back"
	}
	socket := console.Part{Name: "engine", Ready: true}
	if err := n.engine.Check(); err != nil {
		socket.Ready, socket.Reason = false, err.Error()
	}
	return []console.Part{nats, socket}
}

// pendingTimeout bounds how long numbers wait for the server's.
const pendingTimeout = 2 * time.Second

// pending asks the server what each consumer has before it.
func (n *Node) pending() map[string]int64 {
	ctx, cancel := context.WithTimeout(context.Background(), pendingTimeout)
	defer cancel()
	pending := map[string]int64{}
	if !n.bridge.Connected() {
		return pending
	}
	_, list, err := n.bridge.State(ctx)
	if err != nil {
		n.log.Debug("cannot ask what is pending", "error", err)
	}
	for _, p := range list {
		// What was handed on waits for the same plugin.
		pending[bridge.WaitsFor(p.Name)] += int64(p.Messages)
	}
	return pending
}

// Stages implements telemetry.StageSource.
func (n *Node) Stages() []telemetry.StageSnapshot {
	pending, lag := n.behind()
	var list []telemetry.StageSnapshot
	for _, w := range n.workers.list() {
		c := w.stats.Snapshot()
		k, behind := w.keyed.Snapshot(), lag.of(w)
		list = append(list, telemetry.StageSnapshot{
			Stage: w.consumer.Stage, Plugin: w.consumer.Plugin,
			Affinity: w.consumer.Affinity.Key != "", Partitions: k.Held, Taken: uint64(k.Taken),
			In: uint64(c.In), Out: uint64(c.Out), Dropped: uint64(c.Dropped), Dead: uint64(c.Dead), Returned: uint64(c.Returned), InFlight: c.InFlight,
			Ahead: c.Ahead, Limit: c.Limit, Outputs: uint64(c.Produced), Retried: uint64(c.Retried), Pending: pending[w.String()],
			LagItems: behind.Items, LagSeconds: lagSeconds(behind), Duration: w.took.Snapshot(),
		})
	}
	return list
}

// Plugins implements telemetry.PluginSource.
func (n *Node) Plugins() []telemetry.PluginSnapshot {
	var list []telemetry.PluginSnapshot
	restarts := map[string]plugin.ProcessStatus{}
	for _, p := range n.processes.Snapshot() {
		restarts[p.Name] = p
	}
	served := map[string]bool{}
	for _, s := range n.registry.Snapshot() {
		served[s.Name] = true
		t := telemetry.PluginSnapshot{
			Name: s.Name, Kind: string(s.Kind), State: string(s.State), Calls: s.Calls, Failures: s.Failures, InFlight: s.InFlight,
			Lane: s.Lane, LaneCalls: s.LaneCalls, LaneFrames: s.LaneFrames,
		}
		if p, ok := restarts[s.Name]; ok {
			t.Starts = p.Restarts + 1
			t.State = stateOf(s, &p)
		}
		list = append(list, t)
	}
	for name, p := range restarts {
		if !served[name] {
			list = append(list, telemetry.PluginSnapshot{Name: name, Kind: "process", State: string(p.State), Starts: p.Restarts + 1})
		}
	}
	return list
}

// stateOf is how a plugin stands in one word: where its socket cannot be called,
// how the process stands that should serve it says more.
func stateOf(s plugin.Status, p *plugin.ProcessStatus) string {
	if p == nil || s.State == plugin.StateLive || p.State == plugin.Running {
		return string(s.State)
	}
	return string(p.State)
}
