package telemetry

// A source is read whenever metrics are scraped, by one goroutine at a time
// for each scrape; it returns at once, from numbers it keeps anyway.

// StageSource gives the numbers of stages.
type StageSource interface{ Stages() []StageSnapshot }

// StageSnapshot is what a stage's consumer has done since the node started.
// Stage and Plugin together name it; no two snapshots share both.
//
// At rest In = Out + Dropped + Dead + Returned + InFlight. A source that reads
// its counters one after the other, while they move, reads those of what left
// before In, so that the sum is never above In.
type StageSnapshot struct {
	Stage  string // parse, analysis, correlation, notification, output
	Plugin string // who is called; empty where the node itself does the work

	In       uint64 // items handed to the stage
	Out      uint64 // items done, whatever the number of their outputs
	Dropped  uint64 // items discarded on purpose
	Dead     uint64 // items that became dead letters
	Returned uint64 // items given back to the stream; they come In again
	InFlight int64  // items the stage holds now
	Ahead    int64  // of these, items that wait for the others
	Limit    int64  // items that may be with the plugin at once; 0: not adapted

	Outputs uint64 // items stored for the next stage
	Retried uint64 // of In, those that had been tried before
	Pending int64  // items or messages waiting in the stream, as the server last said

	LagItems   float64 // items not done, on all nodes, as the server last said
	LagSeconds float64 // how long the oldest of them has been in its stream

	// Affinity: the plugin's items have keys. Partitions of them are this node's
	// now, and it took one Taken times.
	Affinity   bool
	Partitions int64
	Taken      uint64

	// Duration is the time from handing over an item to its being done.
	Duration HistogramSnapshot
}

// Balance is how many items are unaccounted for: 0 at rest.
func (s StageSnapshot) Balance() int64 {
	return int64(s.In-s.Out-s.Dropped-s.Dead-s.Returned) - s.InFlight
}

// EventSource gives the numbers of what pipelines make.
type EventSource interface {
	// Flaws are how many events carry errors of steps, and how many fields had
	// no place in their event.
	Flaws() (events, fields uint64)
}

// InputSource gives the numbers of the engine socket.
type InputSource interface{ Inputs() []InputSnapshot }

// InputSnapshot is what one method of the engine socket has taken since the
// node started: Received = Stored + Refused + Abandoned + InFlight.
type InputSnapshot struct {
	Kind string // log or message

	Received  uint64
	Bytes     uint64
	Stored    uint64
	Refused   map[string]uint64 // by reason; each is a dead letter
	Abandoned uint64            // not acked when the node stopped
	InFlight  int64
	Acks      uint64 // Ack messages sent; one may cover many logs
	Streams   int64  // open now

	// Latency is the time from receiving a log to the moment its Ack is due:
	// it and all before it on its stream are stored.
	Latency HistogramSnapshot
}

// PluginSource gives the state of plugins.
type PluginSource interface{ Plugins() []PluginSnapshot }

// PluginSnapshot is one plugin as this node sees it. Name and Kind together
// name it; no two snapshots share both.
type PluginSnapshot struct {
	Name     string
	Kind     string // parsing, analysis, ...; process for a process that serves nothing (yet)
	State    string // one word: running, restarting, crashing, ...
	Starts   uint64 // of its process by this node
	Calls    uint64
	Failures uint64 // calls that ended with an error
	InFlight int64  // calls under way

	Lane       bool   // calls go by the plugin's batch lane
	LaneCalls  uint64 // of Calls, those that went by lane
	LaneFrames uint64 // that carried them
}
