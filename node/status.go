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

	Config ConfigStatus `json:"config"`
	// Revision is what the node made of the configuration that was pushed; its
	// Seen is 0 where none was.
	Revision  bridge.RevisionReport `json:"revision"`
	Addresses Addresses             `json:"addresses"`
	// Hub is there where the node is an edge.
	Hub     *bridge.HubStatus `json:"hub,omitempty"`
	Plugins []PluginStatus    `json:"plugins"`
	Input   []InputStatus     `json:"input"`
	Stages  []StageStatus     `json:"stages"`
	// Behind are all consumers of the mesh with something not done, whoever serves
	// them; none where the server does not answer.
	Behind []BehindStatus `json:"behind,omitempty"`
	Events EventStatus    `json:"events"`
}

// BehindStatus is what a consumer has not done.
type BehindStatus struct {
	Consumer string `json:"consumer"`
	Messages uint64 `json:"messages"`
	// Items are those that these hold: an estimate.
	Items float64 `json:"items"`
	// Oldest is when the first of them was stored, by the server's clock; zero: not
	// known.
	Oldest time.Time `json:"oldest,omitzero"`
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
	// LagItems are the items that are not done, in the whole mesh: an estimate.
	// LagSeconds is how long the oldest of them has been in its stream.
	LagItems   float64 `json:"lag_items"`
	LagSeconds float64 `json:"lag_seconds"`
	// Limit is how many items this node works on at once at the most, now: see
	// bridge.Work.Adapt. Busy is the time that it has worked on all of them, in
	// seconds, added up.
	Limit int     `json:"limit"`
	Busy  float64 `json:"busy_seconds"`
	// Pending are the messages in the stream that the consumer has before it,
	// in the whole mesh; each holds one or more items. -1: not known now.
	Pending int64 `json:"pending"`
	// Affinity is there where the plugin has one.
	Affinity *AffinityStatus `json:"affinity,omitempty"`
	Rate     float64         `json:"rate"` // items done a second, over the last seconds
}
