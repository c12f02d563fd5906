package node

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/stage"
	"github.com/epmesh/epmesh/node/telemetry"
)

// workers runs one worker a consumer, and changes the set while it runs.
type workers struct {
	n *Node

	mu      sync.Mutex
	mesh    config.Mesh     // whose rules hold
	ctx     context.Context // nil before Serve
	running map[string]*running
	// all keeps the workers of removed consumers: their counts stay, and go on
	// if the consumer comes again.
	all map[string]*worker
	wg  sync.WaitGroup
}

type running struct {
	w    *worker
	stop context.CancelFunc
	done chan struct{}
}

func newWorkers(n *Node) *workers {
	return &workers{n: n, running: map[string]*running{}, all: map[string]*worker{}}
}

func (ws *workers) String() string { return "workers" }

// Serve runs what Set has named and will name, until ctx ends and all have
// finished what they held.
func (ws *workers) Serve(ctx context.Context) error {
	ws.mu.Lock()
	ws.ctx = ctx
	for _, r := range ws.running {
		ws.start(r)
	}
	ws.mu.Unlock()
	<-ctx.Done()
	ws.wg.Wait()
	return nil
}

// Place says which rules hold, for what is served and what will be.
func (ws *workers) Place(mesh config.Mesh) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.mesh = mesh
	for _, w := range ws.all {
		w.place.set(mesh.Slices(placeStage(w.consumer), w.consumer.Plugin))
	}
}

// Set says which consumers to serve. Workers of others are stopped; Set waits
// until they have finished.
func (ws *workers) Set(list []bridge.Consumer) {
	// Those whose affinity has changed are served in another way: they are
	// stopped first.
	if same := ws.unchanged(list); len(same) < len(list) {
		ws.set(same)
	}
	ws.set(list)
}

func (ws *workers) unchanged(list []bridge.Consumer) []bridge.Consumer {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(list), func(c bridge.Consumer) bool {
		r := ws.running[c.Name()]
		return r != nil && r.w.consumer.Affinity != c.Affinity
	})
}

func (ws *workers) set(list []bridge.Consumer) {
	ws.mu.Lock()
	wanted := map[string]bool{}
	for _, c := range list {
		name := c.Name()
		wanted[name] = true
		if ws.running[name] == nil {
			ws.add(c)
		}
	}
	var stopped []*running
	for name, r := range ws.running {
		if !wanted[name] {
			delete(ws.running, name)
			if r.stop != nil {
				r.stop()
				stopped = append(stopped, r)
			}
		}
	}
	ws.mu.Unlock()
	for _, r := range stopped {
		<-r.done
	}
}

// add serves one more consumer. The lock is held.
func (ws *workers) add(c bridge.Consumer) {
	w := ws.all[c.Name()]
	if w == nil || w.consumer.Affinity != c.Affinity {
		w = &worker{n: ws.n, consumer: c, took: telemetry.NewHistogram()}
		w.place.groups = ws.n.settings.Groups
		w.place.set(ws.mesh.Slices(placeStage(c), c.Plugin))
		if kind := socketKind(c); kind != "" {
			w.client = ws.n.registry.Client(kind, c.Plugin)
		}
		w.handler = ws.n.handler(w)
		ws.all[c.Name()] = w
	}
	r := &running{w: w}
	ws.running[c.Name()] = r
	if ws.ctx != nil {
		ws.start(r)
	}
}

func (ws *workers) start(r *running) {
	ctx, cancel := context.WithCancel(ws.ctx)
	r.stop, r.done = cancel, make(chan struct{})
	ws.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		_ = r.w.Serve(ctx)
	})
}

// list is every worker that is served or was, in the order of the data's way.
func (ws *workers) list() []*worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var list []*worker
	for _, w := range ws.all {
		list = append(list, w)
	}
	order := []string{bridge.StageForward, bridge.StageForwardMessage, "parse", "draft", "analysis", "correlation", "notification", "event-output", "alert-output"}
	slices.SortFunc(list, func(a, b *worker) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.consumer.Stage), slices.Index(order, b.consumer.Stage)), cmp.Compare(a.String(), b.String()))
	})
	return list
}

// current is every worker that is served now, in the same order.
func (ws *workers) current() []*worker {
	return slices.DeleteFunc(ws.list(), func(w *worker) bool {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		return ws.running[w.String()] == nil
	})
}

// handler is what a consumer's items are handled with.
func (n *Node) handler(w *worker) bridge.Handler {
	switch w.consumer.Stage {
	case bridge.StageForward, bridge.StageForwardMessage:
		return nil // stored messages go on as they are
	case "parse":
		return n.parser.Log
	case "draft":
		return n.parser.Draft(w.consumer.Plugin)
	case "analysis":
		return stage.Analysis(w.client)
	case "correlation":
		return stage.Correlation(w.client)
	case "notification":
		return stage.Notification(w.client)
	case "event-output":
		return stage.EventOutput(w.client)
	default:
		return stage.AlertOutput(w.client)
	}
}
