package telemetry

import "github.com/prometheus/client_golang/prometheus"

// metric is one of ours. docs/metrics.md lists them all, in this order.
type metric struct {
	name, kind, help string
	labels           []string
	desc             *prometheus.Desc
}

var all []metric

func define(name, kind, help string, labels ...string) metric {
	m := metric{name, kind, help, labels, prometheus.NewDesc(name, help, labels, nil)}
	all = append(all, m)
	return m
}

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

var (
	buildInfo    = define("epmesh_build_info", gauge, "Always 1: which epmesh runs, and as which node.", "version", "revision", "node")
	inputToAlert = define("epmesh_input_to_alert_seconds", histogram, "Time from receiving a log to storing an alert that came of it.")

	inputReceived  = define("epmesh_input_received_total", counter, "Logs (kind log) and messages (kind message) that came in on the engine socket.", "kind")
	inputBytes     = define("epmesh_input_received_bytes_total", counter, "Bytes of what came in on the engine socket.", "kind")
	inputStored    = define("epmesh_input_stored_total", counter, "What came in and is stored.", "kind")
	inputRefused   = define("epmesh_input_refused_total", counter, "What came in, could not be taken and is in the dead letters.", "kind", "reason")
	inputAbandoned = define("epmesh_input_abandoned_total", counter, "What came in and was not stored, and not acked, when the node stopped.", "kind")
	inputInFlight  = define("epmesh_input_in_flight", gauge, "What came in and is being stored.", "kind")
	inputAcks      = define("epmesh_input_acks_total", counter, "Acks sent; one may cover many logs.", "kind")
	inputStreams   = define("epmesh_input_streams", gauge, "Streams open on the engine socket.", "kind")
	inputLatency   = define("epmesh_input_ack_seconds", histogram, "Time from receiving a log to its Ack being due.", "kind")

	stageIn       = define("epmesh_stage_in_total", counter, "Items handed to the stage.", "stage", "plugin")
	stageOut      = define("epmesh_stage_out_total", counter, "Items the stage is done with, whatever the number of their outputs.", "stage", "plugin")
	stageDropped  = define("epmesh_stage_dropped_total", counter, "Items the stage discarded on purpose.", "stage", "plugin")
	stageDead     = define("epmesh_stage_dead_total", counter, "Items the stage gave up, which are in the dead letters.", "stage", "plugin")
	stageReturned = define("epmesh_stage_returned_total", counter, "Items the stage gave back to the stream, to come in again later.", "stage", "plugin")
	stageInFlight = define("epmesh_stage_in_flight", gauge, "Items the stage holds.", "stage", "plugin")
	stageAhead    = define("epmesh_stage_ahead", gauge, "Items of these that wait for the others.", "stage", "plugin")
	stageLimit    = define("epmesh_stage_limit", gauge, "How many items may be with the plugin at once now, as that follows its latency; 0 where it does not.", "stage", "plugin")
	stageOutputs  = define("epmesh_stage_outputs_total", counter, "Items the stage stored for the next one.", "stage", "plugin")
	stageRetried  = define("epmesh_stage_retried_total", counter, "Items that came in and had been tried before.", "stage", "plugin")
	stageParts    = define("epmesh_stage_partitions", gauge, "Partitions of the stage's keys that this node serves, where the plugin has an affinity.", "stage", "plugin")
	stageTaken    = define("epmesh_stage_partitions_taken_total", counter, "Times that this node took a partition.", "stage", "plugin")
	leaseLosses   = define("epmesh_lease_losses_total", counter, "Times that this node lost all its leases, because it could not renew them in time.")
	hubUp         = define("epmesh_hub_up", gauge, "An edge: 1 while the link to the hub is up, else 0.")
	hubLosses     = define("epmesh_hub_losses_total", counter, "An edge: times that the link to the hub was lost.")
	stagePending  = define("epmesh_stage_pending", gauge, "What waits in the stream for the stage, on all nodes together.", "stage", "plugin")
	stageLagItems = define("epmesh_stage_lag_items", gauge, "Items that the stage has before it or in hand, on all nodes together; an estimate from some of them.", "stage", "plugin")
	stageLag      = define("epmesh_stage_lag_seconds", gauge, "How long the oldest item that the stage is not done with has been in its stream, on all nodes together; 0 where there is none.", "stage", "plugin")
	stageDuration = define("epmesh_stage_duration_seconds", histogram, "Time from handing an item to the stage to its being done.", "stage", "plugin")

	eventsFlawed   = define("epmesh_event_flawed_total", counter, "Events that carry errors of pipeline steps.")
	fieldsVanished = define("epmesh_event_vanished_fields_total", counter, "Fields of drafts that an event has no place for.")

	pluginState      = define("epmesh_plugin_state", gauge, "1 for the state that the plugin is in now.", "plugin", "kind", "state")
	pluginStarts     = define("epmesh_plugin_starts_total", counter, "Starts of the plugin's process by this node.", "plugin", "kind")
	pluginCalls      = define("epmesh_plugin_calls_total", counter, "Calls to the plugin.", "plugin", "kind")
	pluginFailures   = define("epmesh_plugin_failures_total", counter, "Calls to the plugin that failed.", "plugin", "kind")
	pluginLane       = define("epmesh_plugin_lane", gauge, "1 where calls to the plugin go by its batch lane now, else 0.", "plugin", "kind")
	pluginLaneCalls  = define("epmesh_plugin_lane_calls_total", counter, "Calls that went by the plugin's batch lane.", "plugin", "kind")
	pluginLaneFrames = define("epmesh_plugin_lane_frames_total", counter, "Messages of the lane that carried those calls.", "plugin", "kind")
	pluginInFlight   = define("epmesh_plugin_in_flight", gauge, "Calls to the plugin that are under way.", "plugin", "kind")
)
