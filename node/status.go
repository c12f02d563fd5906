package node

import (
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
)

// StatusRequest is the control request that every node answers with its Status
// as JSON.
const StatusRequest = "status"

// Status is how one node stands.
type Status struct {
	Node       string    `json:"node"`
	Version    string    `json:"version"`
	Since      time.Time `json:"since"`
	Ready      bool      `json:"ready"`
	NotReady   []string  `json:"notReady,omitempty"` // why, one reason a part
	Durability string    `json:"durability"`

	Config    ConfigStatus   `json:"config"`
	Addresses Addresses      `json:"addresses"`
	Plugins   []PluginStatus `json:"plugins"`
	Input     []InputStatus  `json:"input"`
	Stages    []StageStatus  `json:"stages"`
	Events    EventStatus    `json:"events"`
}

// EventStatus is what pipelines got wrong since the node started.
type EventStatus struct {
	Flawed         uint64 `json:"flawed"`          // events that carry errors of steps
	VanishedFields uint64 `json:"vanished_fields"` // fields that an event has no place for
}

// ConfigStatus is which pipeline files the node runs with.
type ConfigStatus struct {
	Fingerprint string    `json:"fingerprint"`
	Loaded      time.Time `json:"loaded"`
	Pipelines   int       `json:"pipelines"`
	// Refused says why the files as they are now were refused; the node goes on
	// with what it had.
	Refused  []string `json:"refused,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Addresses are where a node can be reached.
type Addresses struct {
	Engine string `json:"engine"`         // the engine socket's path
	HTTP   string `json:"http,omitempty"` // host:port
	NATS   string `json:"nats,omitempty"` // URL without secrets
	// Plugins are the addresses that plugins of this node listen on, by the
	// plugin's name.
	Plugins map[string][]plugin.Listening `json:"plugins,omitempty"`
}

// PluginStatus is one plugin: its process where the node runs it, and one
// socket for each kind that it serves.
type PluginStatus struct {
	Name string `json:"name"`
	// Kind is what it serves; input for a bundled input. It is empty for another's
	// process that serves no socket: that may be an input, or not have begun.
	Kind    string                `json:"kind,omitempty"`
	State   string                `json:"state"`
	Socket  *plugin.Status        `json:"socket,omitempty"`
	Process *plugin.ProcessStatus `json:"process,omitempty"`
	// Note says what the state leaves open, such as a plugin that serves but is
	// listed in no order.
	Note string `json:"note,omitempty"`
}

// InputStatus is one method of the engine socket.
type InputStatus struct {
	Kind     string  `json:"kind"` // log or message
	Received uint64  `json:"received"`
	Stored   uint64  `json:"stored"`
	Dead     uint64  `json:"dead"`
	InFlight int64   `json:"in_flight"`
	Streams  int64   `json:"streams"`
	Rate     float64 `json:"rate"` // received a second, over the last seconds
}

// StageStatus is one consumer as this node serves it.
type StageStatus struct {
	Stage    string `json:"stage"`
	Plugin   string `json:"plugin,omitempty"`
	Consumer string `json:"consumer"`
	// Serving is false where the node cannot take the work now; Waiting says
	// for what.
	Serving bool   `json:"serving"`
	Waiting string `json:"waiting,omitempty"`

	bridge.Counts
	// Pending are the messages in the stream that the consumer has before it,
	// in the whole mesh; each holds one or more items. -1: not known now.
	Pending int64   `json:"pending"`
	Rate    float64 `json:"rate"` // items done a second, over the last seconds
}
