package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/stage"
	"github.com/epmesh/epmesh/node/telemetry"
)

// plugGrace is how long a plugin may be away, as it is for a restart, before
// its worker gives back what it holds. It is longer than the stages wait for
// the plugin within one call.
const plugGrace = stage.AwaitPlugin + 5*time.Second

// worker serves one consumer whenever its plugin is there.
type worker struct {
	n        *Node
	consumer bridge.Consumer
	client   *plugin.Client // nil for the parse stage, which needs none
	handler  bridge.Handler

	place   placing
	stats   bridge.Stats
	keyed   bridge.KeyedStats
	took    *telemetry.Histogram
	serving atomic.Bool
}

func (w *worker) String() string { return w.consumer.Name() }

// Serve takes items until ctx ends.
func (w *worker) Serve(ctx context.Context) error {
	pause := time.Second
	for ctx.Err() == nil {
		if w.client != nil {
			if err := w.client.WaitLive(ctx); err != nil {
				return nil
			}
		}
		began := time.Now()
		life, end := context.WithCancel(ctx)
		if w.client != nil {
			go w.watch(life, end)
		}
		w.serving.Store(true)
		err := w.consume(life)
		w.serving.Store(false)
		end()
		if err == nil || ctx.Err() != nil {
			continue
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		w.n.log.Error("cannot take items, trying again", "error", err, "in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 30*time.Second)
	}
	return nil
}

// places reports whether the consumer's items can be placed by dataType and tenant.
func (w *worker) places() bool {
	return w.consumer.Stage != "notification" && w.consumer.Affinity.Key == ""
}

// watch ends a life of the worker when its plugin stays away.
func (w *worker) watch(life context.Context, end context.CancelFunc) {
	defer end()
	for {
		select {
		case <-life.Done():
			return
		case <-w.client.Gone():
		}
		wait, cancel := context.WithTimeout(life, w.grace())
		err := w.client.WaitLive(wait)
		cancel()
		if err != nil {
			return
		}
	}
}

func (w *worker) work() bridge.Work {
	work := bridge.Work{
		Consumer: w.consumer, Handler: w.handler, Drain: workDrain, Stats: &w.stats, Merge: stage.MergeTallies,
		Parallel: w.n.settings.Plugins.InFlight, Within: w.n.settings.Plugins.InFlight,
		Done: func(in bridge.Item, out []bridge.Item, took time.Duration) { w.took.Observe(took) },
	}
	work.Adapt = w.client != nil
	if w.places() {
		work.Place = w.place.bridge()
	}
	switch w.consumer.Stage {
	case "parse":
		work.GivenUp = w.n.tallies.GivenUp(stage.TopicParsingDropped, stage.ScanLog)
	case "analysis":
		work.GivenUp = w.n.tallies.GivenUp(stage.TopicAnalysisDropped, stage.ScanEvent)
		work.Done = func(in bridge.Item, out []bridge.Item, took time.Duration) {
			w.took.Observe(took)
			if len(out) > 0 {
				w.n.toAlert.Observe(time.Since(time.Unix(0, in.Received)))
			}
		}
	case "correlation":
		work.GivenUp = w.n.tallies.GivenUp(stage.TopicCorrelationDropped, stage.ScanAlert)
	}
	return work
}
