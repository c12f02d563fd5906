package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/console"
	"github.com/epmesh/epmesh/node/engine"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/stage"
	"github.com/epmesh/epmesh/node/telemetry"
	"github.com/epmesh/epmesh/node/workdir"
	"github.com/hashicorp/go-hclog"
)

// Options say what a node is to run.
type Options struct {
	Settings config.Settings
	Version  string
	Logger   hclog.Logger

	// Bundled is the command that runs a bundled plugin under a served name.
	Bundled func(bundled, served string) []string
	// Announces reports whether a bundled plugin says where it listens, so that
	// the node is ready only once it has. nil: none does.
	Announces func(bundled string) bool
	// BundledKind is the kind of a bundled plugin: input, analysis, ... nil: it is
	// not told.
	BundledKind func(bundled string) string
	// Guard is the command that runs plugin.GuardMain; nil for none.
	Guard []string
	// Ready is called once everything that the configuration asks for runs; nil
	// for nothing.
	Ready func(Addresses)
}

// How long a stop may take: the workers finish what they hold, then the plugins
// end, then the engine socket stores what it took.
const (
	workDrain   = 1500 * time.Millisecond
	engineDrain = time.Second
)

// AccessFile is where a node in dir keeps what commands need to reach its
// embedded server.
func AccessFile(dir string) string { return filepath.Join(dir, "run", "nats.json") }

// StateFile is where a node in dir keeps what its plugins need to reach the
// state that they share with other nodes.
func StateFile(dir string) string { return filepath.Join(dir, "run", "state.json") }

// Node is one running node.
type Node struct {
	opts     Options
	settings config.Settings
	log      hclog.Logger
	began    time.Time

	server    *bridge.Server // nil with an external one
	bridge    *bridge.Bridge
	hub       *bridge.Hub // nil for a node that is no edge
	leases    *bridge.Leases
	engine    *engine.Server
	registry  *plugin.Registry
	processes *plugin.Processes
	parser    *stage.Parser
	console   *console.Server
	workers   *workers
	tallies   *stage.Tallies
	toAlert   *telemetry.Histogram
	rates     *rates

	durability string
	config     configState
	revisions  *revisions
	lags       lags
}

// Run runs a node until ctx ends; then it stops taking logs, finishes what it
// holds, ends its plugins and returns nil. An error says what kept it from
// starting, or broke it.
func Run(ctx context.Context, o Options) error {
	n := &Node{
		opts: o, settings: o.Settings, log: o.Logger, began: time.Now(),
		tallies: new(stage.Tallies), toAlert: telemetry.NewHistogram(), rates: newRates(),
	}
	for _, dir := range []string{n.settings.Dir, filepath.Join(n.settings.Dir, "run"), n.settings.SocketDir()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("work dir: %w", err)
		}
	}
	release, err := workdir.Lock(n.settings.Dir)
	if err != nil {
		return err
	}
	defer release()

	if err := n.openBridge(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer n.closeBridge()
	n.revisions = newRevisions(n)
	n.revisions.start(ctx)
	set, pipelines := n.loadFirst()
	if err := n.prepare(ctx, set); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	n.build(pipelines)
	return n.serve(ctx, set)
}

func (n *Node) openBridge(ctx context.Context) error {
	s := n.settings
	n.tellExpiry("nats.tls", s.NATS.TLS)
	n.tellExpiry("nats.cluster.tls", s.NATS.Cluster.TLS)
	n.tellExpiry("nats.leaf.tls", s.NATS.Leaf.TLS)
	n.tellExpiry("nats.edges.tls", s.NATS.Edges.TLS)
	o := bridge.Options{
		Name: s.Node, URL: s.NATS.URL, Credentials: s.NATS.Credentials, Context: s.NATS.Context, TLS: tlsFiles(s.NATS.TLS),
		Survive: bridge.Survive{
			Crash: s.NATS.Asks(config.SurviveCrash), PowerLoss: s.NATS.Asks(config.SurvivePowerLoss), ServerLoss: s.NATS.Asks(config.SurviveServerLoss),
		},
		ExternalSync: s.NATS.ExternalSync,
		Replicas:     s.NATS.Replicas, MaxStore: int64(s.NATS.MaxStore), Duplicates: s.NATS.Duplicates,
		AckWait: s.Stages.AckWait, Attempts: s.Stages.Attempts,
		BatchItems: s.Stages.BatchItems, BatchBytes: int(s.Stages.BatchBytes),
		Logger: n.log.Named("bridge"),
	}
	if s.NATS.Embedded() {
		interval, err := s.NATS.SyncInterval()
		if err != nil {
			return err
		}
		n.server, err = bridge.StartServer(bridge.ServerOptions{
			Name: s.Node, Dir: filepath.Join(s.Dir, "nats"), Listen: s.NATS.Listen, SyncInterval: interval,
			MaxPayload: int(s.NATS.MaxPayload), AccessFile: AccessFile(s.Dir), Logger: n.log.Named("nats"),
			Cluster: cluster(s.NATS.Cluster), Leaf: leaf(s.NATS.Leaf), Edges: edges(s.NATS.Edges),
		})
		if err != nil {
			return err
		}
		o.Server = n.server
	}
	var err error
	if n.bridge, err = bridge.Open(ctx, o); err == nil {
		if err = n.tellPlugins(); err == nil && n.edge() {
			n.hub, err = n.bridge.OpenHub()
		}
		if err != nil {
			n.bridge.Close()
		}
	}
	if err != nil && n.server != nil {
		n.server.Shutdown()
	}
	return err
}

// expirySoon is how long before its end a certificate is warned of.
const expirySoon = 30 * 24 * time.Hour

// tellExpiry warns of certificates that end soon or have ended. One that cannot
// be read is an error of whoever uses it.
func (n *Node) tellExpiry(setting string, t config.TLS) {
	end, err := tlsFiles(t).Expiry()
	if left := time.Until(end); err == nil && !end.IsZero() && left < expirySoon {
		n.log.Warn("a certificate ends soon", "setting", setting, "ends", end.UTC().Format(time.RFC3339), "cert", t.Cert, "ca", t.CA,
			"cure", "make a new one (epmesh cert node --force); it is read at the next connection")
	}
}

// cluster is what makes the embedded server one of many.
func cluster(c config.Cluster) bridge.ClusterOptions {
	return bridge.ClusterOptions{
		Name: c.Name, Listen: c.Listen, Advertise: c.Advertise, Routes: c.Routes, TLS: tlsFiles(c.TLS), Insecure: c.Insecure,
	}
}

func tlsFiles(t config.TLS) bridge.TLSFiles {
	return bridge.TLSFiles{CA: t.CA, Cert: t.Cert, Key: t.Key}
}

// tellPlugins writes how plugins reach the shared state: with an embedded server
// as a user who may do nothing else, otherwise as the node itself does.
func (n *Node) tellPlugins() error {
	s := n.settings.NATS
	access := bridge.StateAccess{URL: s.URL, Credentials: s.Credentials, Context: s.Context}
	if n.server != nil {
		access = n.server.StateAccess()
	}
	// A plugin's working directory is not the node's.
	for _, file := range []*string{&access.Credentials, &access.Context} {
		if abs, err := filepath.Abs(*file); err == nil && *file != "" {
			*file = abs
		}
	}
	return bridge.WriteStateAccess(StateFile(n.settings.Dir), access)
}

func (n *Node) closeBridge() {
	_ = os.Remove(StateFile(n.settings.Dir))
	if n.hub != nil {
		n.hub.Close()
	}
	n.bridge.Close()
	if n.server != nil {
		n.server.Shutdown()
	}
}

// prepare makes streams and consumers before anything can be stored.
func (n *Node) prepare(ctx context.Context, set *config.Set) error {
	orphans, err := n.bridge.Ensure(ctx, n.consumers(set))
	if err != nil {
		return err
	}
	n.tellOrphans(orphans)
	if n.durability, err = n.bridge.Durability(ctx, n.announceStart); err != nil {
		if errors.Is(err, bridge.ErrDurability) {
			_ = n.withdraw(ctx)
		}
		return err
	}
	n.log.Info(n.durability)
	return nil
}

func (n *Node) tellOrphans(orphans []string) {
	for _, name := range orphans {
		n.log.Warn("a consumer is in no order any more; what it would have taken is kept for it",
			"consumer", name, "cure", "list its plugin again, or let it all go with: epmesh prune "+name)
	}
}

// serve runs the layers until ctx ends or one breaks.
func (n *Node) serve(ctx context.Context, set *config.Set) error {
	n.apply(set)
	answers := make(chan struct{})
	err := runLayers(ctx, n.log,
		layer{services: n.consoleServices(), ready: n.consoleReady},
		layer{services: []Service{n.engine}, ready: n.engine.Ready},
		layer{services: []Service{n.leases}},
		layer{services: []Service{n.registry, n.processes}},
		layer{services: []Service{
			named("control", func(ctx context.Context) error {
				return n.bridge.Serve(ctx, StatusRequest, func() { close(answers) }, n.answerStatus)
			}),
			named("presence", n.announce),
		}, ready: func() <-chan struct{} { return answers }},
		layer{services: append(n.edgeServices(),
			n.workers,
			named("keeper", n.bridge.Keep),
			named("configuration", n.watch),
			n.revisions,
			named("outputs", n.watchOutputs),
			named("rates", n.sample),
			named("ready", func(ctx context.Context) error { return n.waitReady(ctx, set) }),
		)},
	)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// deadLetters adapts the bridge to what the engine socket refuses.
type deadLetters struct{ b *bridge.Bridge }

func (d deadLetters) Dead(ctx context.Context, refused ...engine.Refused) error {
	letters := make([]bridge.DeadLetter, len(refused))
	for i, r := range refused {
		letters[i] = bridge.DeadLetter{
			ID: r.ID, Received: r.Received, Stage: engine.Stage, Attempts: 1, Reason: r.Reason, Subject: r.Subject, Body: r.Body,
		}
	}
	return d.b.Dead(ctx, letters...)
}
