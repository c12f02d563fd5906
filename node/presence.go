package node

import (
	"context"
	"math"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

const (
	// presenceEvery is how often the node says that it is there, and presenceFor
	// how long it counts as there after that: two of them may be lost.
	presenceEvery = 5 * time.Second
	presenceFor   = 15 * time.Second
	// withdrawWithin bounds how long a stop waits for the server.
	withdrawWithin = time.Second
)

// announce says again and again that the node is there and how it does, and at a
// stop that it goes.
func (n *Node) announce(ctx context.Context) error {
	tick := time.NewTicker(presenceEvery)
	defer tick.Stop()
	failing := false
	cpu := newCPUMeter()
	for {
		// Where the server is away the attempt ends before the next one is due.
		try, cancel := context.WithTimeout(ctx, presenceEvery)
		err := n.bridge.Announce(try, n.presence(cpu.cores()), presenceFor)
		cancel()
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			n.log.Warn("cannot tell the mesh that this node is there; it goes on with its work", "error", err)
		case err == nil && failing:
			n.log.Info("the mesh knows again that this node is there")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return n.withdraw(ctx)
		case <-tick.C:
		}
	}
}

// announceStart says of a node that begins what others may have against it.
func (n *Node) announceStart(ctx context.Context) error {
	p := n.who()
	p.NotReady = []string{"node: it starts"}
	return n.bridge.Announce(ctx, p, presenceFor)
}

// who is what a node says of itself at any time.
func (n *Node) who() bridge.Presence {
	return bridge.Presence{
		Node: n.settings.Node, Version: n.opts.Version, Groups: n.settings.Groups, Since: n.began, At: time.Now(),
		Sync: n.bridge.Sync(), PowerLoss: n.settings.NATS.Asks(config.SurvivePowerLoss),
	}
}

func (n *Node) withdraw(ctx context.Context) error {
	if !n.bridge.Connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawWithin)
	defer cancel()
	if err := n.bridge.Withdraw(ctx, n.settings.Node); err != nil {
		n.log.Debug("cannot tell the mesh that this node ends", "error", err)
	}
	return nil
}

// presence is how the node stands, in what other nodes and commands may want to
// know of it. It asks no server.
func (n *Node) presence(cores float64) bridge.Presence {
	n.config.mu.Lock()
	set, status := n.config.set, n.config.status
	n.config.mu.Unlock()
	p := n.who()
	now := p.At
	p.Ready, p.Durability = true, n.durability
	p.Fingerprint, p.Revision = status.Fingerprint, n.revisions.Report().Applied
	p.Load = bridge.Load{CPU: cores, Memory: heldMemory()}
	for _, part := range n.parts() {
		if !part.Ready {
			p.Ready, p.NotReady = false, append(p.NotReady, part.Name+": "+part.Reason)
		}
	}
	for _, s := range n.pluginStatus(set) {
		g := bridge.PluginPresence{Name: s.Name, Kind: s.Kind, State: s.State}
		if s.Socket != nil {
			g.InFlight = s.Socket.InFlight
		}
		p.Plugins = append(p.Plugins, g)
	}
	for _, in := range n.engine.Inputs() {
		if in.Kind == "log" {
			p.Load.Logs = round(n.rates.of("input "+in.Kind, now, int64(in.Received)))
		}
	}
	for _, w := range n.workers.current() {
		p.Load.Items += n.rates.of(w.String(), now, w.done())
		p.Load.InFlight += w.stats.Snapshot().InFlight
	}
	p.Load.Items = round(p.Load.Items)
	return p
}

// round is a rate as exact as it is worth storing.
func round(rate float64) float64 { return math.Round(rate*10) / 10 }

// heldMemory is what the Go runtime holds of the system's memory.
func heldMemory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// cpuMeter tells how many cores this process has used since it was last asked.
type cpuMeter struct {
	at   time.Time
	used time.Duration
}

func newCPUMeter() *cpuMeter { return &cpuMeter{at: time.Now(), used: cpuTime()} }

func (m *cpuMeter) cores() float64 {
	now, used := time.Now(), cpuTime()
	span := now.Sub(m.at)
	if span <= 0 {
		return 0
	}
	cores := float64(used-m.used) / float64(span)
	m.at, m.used = now, used
	return math.Round(cores*100) / 100
}

// cpuTime is what this process has used so far, in user and system mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
