package telemetry

import (
	"net/http"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which epmesh runs, and as which node.
type Build struct{ Version, Revision, Node string }

// Sources are the parts of a node that metrics are read from. Any of them may
// be nil.
type Sources struct {
	Build   Build
	Inputs  InputSource
	Stages  StageSource
	Events  EventSource
	Plugins PluginSource
	// InputToAlert is the time from receiving a log to storing an alert that
	// came of it.
	InputToAlert *Histogram
	// LeaseLosses is how often the node lost its leases; nil where it has none.
	LeaseLosses func() int64
	// Hub is how the link of an edge to its hub stands; nil for other nodes.
	Hub func() (up bool, losses int64)
}

// NewRegistry makes a registry with all metrics of a node and of its process.
// Numbers are read from the sources when they are asked for and kept nowhere
// else.
func NewRegistry(src Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{src},
	)
	return r
}

// Handler serves a registry as Prometheus reads it. What one source gets wrong
// is logged and left out, and the rest is served.
func Handler(r *prometheus.Registry, log hclog.Logger) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	})
}

// collector turns snapshots into metrics.
type collector struct{ src Sources }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all {
		ch <- m.desc
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	b := c.src.Build
	e.gauge(buildInfo, 1, b.Version, b.Revision, b.Node)
	if c.src.InputToAlert != nil {
		e.histogram(inputToAlert, c.src.InputToAlert.Snapshot())
	}
	if c.src.Inputs != nil {
		for _, s := range c.src.Inputs.Inputs() {
			e.input(s)
		}
	}
	if c.src.Stages != nil {
		for _, s := range c.src.Stages.Stages() {
			e.stage(s)
		}
	}
	if c.src.LeaseLosses != nil {
		e.counter(leaseLosses, uint64(c.src.LeaseLosses()))
	}
	if c.src.Hub != nil {
		up, losses := c.src.Hub()
		e.counter(hubLosses, uint64(losses))
		e.flag(hubUp, up)
	}
	if c.src.Events != nil {
		events, fields := c.src.Events.Flaws()
		e.counter(eventsFlawed, events)
		e.counter(fieldsVanished, fields)
	}
	if c.src.Plugins != nil {
		for _, s := range c.src.Plugins.Plugins() {
			e.plugin(s)
		}
	}
}

type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) input(s InputSnapshot) {
	e.counter(inputReceived, s.Received, s.Kind)
	e.counter(inputBytes, s.Bytes, s.Kind)
	e.counter(inputStored, s.Stored, s.Kind)
	for reason, n := range s.Refused {
		e.counter(inputRefused, n, s.Kind, reason)
	}
	e.counter(inputAbandoned, s.Abandoned, s.Kind)
	e.gauge(inputInFlight, s.InFlight, s.Kind)
	e.counter(inputAcks, s.Acks, s.Kind)
	e.gauge(inputStreams, s.Streams, s.Kind)
	e.histogram(inputLatency, s.Latency, s.Kind)
}

func (e emitter) stage(s StageSnapshot) {
	e.counter(stageIn, s.In, s.Stage, s.Plugin)
	e.counter(stageOut, s.Out, s.Stage, s.Plugin)
	e.counter(stageDropped, s.Dropped, s.Stage, s.Plugin)
	e.counter(stageDead, s.Dead, s.Stage, s.Plugin)
	e.counter(stageReturned, s.Returned, s.Stage, s.Plugin)
	e.gauge(stageInFlight, s.InFlight, s.Stage, s.Plugin)
	e.gauge(stageAhead, s.Ahead, s.Stage, s.Plugin)
	e.gauge(stageLimit, s.Limit, s.Stage, s.Plugin)
	e.counter(stageOutputs, s.Outputs, s.Stage, s.Plugin)
	e.counter(stageRetried, s.Retried, s.Stage, s.Plugin)
	e.gauge(stagePending, s.Pending, s.Stage, s.Plugin)
	if s.Affinity {
		e.gauge(stageParts, s.Partitions, s.Stage, s.Plugin)
		e.counter(stageTaken, s.Taken, s.Stage, s.Plugin)
	}
	e.float(stageLagItems, s.LagItems, s.Stage, s.Plugin)
	e.float(stageLag, s.LagSeconds, s.Stage, s.Plugin)
	e.histogram(stageDuration, s.Duration, s.Stage, s.Plugin)
}

func (e emitter) plugin(s PluginSnapshot) {
	e.gauge(pluginState, 1, s.Name, s.Kind, s.State)
	e.counter(pluginStarts, s.Starts, s.Name, s.Kind)
	e.counter(pluginCalls, s.Calls, s.Name, s.Kind)
	e.counter(pluginFailures, s.Failures, s.Name, s.Kind)
	e.gauge(pluginInFlight, s.InFlight, s.Name, s.Kind)
	e.flag(pluginLane, s.Lane, s.Name, s.Kind)
	e.counter(pluginLaneCalls, s.LaneCalls, s.Name, s.Kind)
	e.counter(pluginLaneFrames, s.LaneFrames, s.Name, s.Kind)
}

func (e emitter) counter(m metric, v uint64, labels ...string) {
	e.send(m, func() (prometheus.Metric, error) {
		return prometheus.NewConstMetric(m.desc, prometheus.CounterValue, float64(v), labels...)
	}, labels)
}

func (e emitter) gauge(m metric, v int64, labels ...string) {
	e.send(m, func() (prometheus.Metric, error) {
		return prometheus.NewConstMetric(m.desc, prometheus.GaugeValue, float64(v), labels...)
	}, labels)
}

// flag is a gauge of 1 or 0.
func (e emitter) flag(m metric, on bool, labels ...string) {
	v := int64(0)
	if on {
		v = 1
	}
	e.gauge(m, v, labels...)
}

func (e emitter) float(m metric, v float64, labels ...string) {
	e.send(m, func() (prometheus.Metric, error) {
		return prometheus.NewConstMetric(m.desc, prometheus.GaugeValue, v, labels...)
	}, labels)
}

func (e emitter) histogram(m metric, s HistogramSnapshot, labels ...string) {
	e.send(m, func() (prometheus.Metric, error) {
		return prometheus.NewConstHistogram(m.desc, s.Count, s.Sum.Seconds(), s.Buckets, labels...)
	}, labels)
}

// send makes a metric; labels may come from file names and are made UTF-8
// first, as one that is not would spoil the whole page.
func (e emitter) send(m metric, make func() (prometheus.Metric, error), labels []string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	v, err := make()
	if err != nil {
		v = prometheus.NewInvalidMetric(m.desc, err)
	}
	e.ch <- v
}
