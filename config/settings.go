package config

import (
	"fmt"
	"strings"
	"time"
)

// Settings is what epmesh.yaml, the environment and the flags say about one
// node. The zero value is not usable: start from Defaults.
type Settings struct {
	// Dir is the work dir: WORK_DIR. Everything of the node lies below it.
	Dir string `yaml:"work_dir"`
	// Node names this node: NODE_NAME, or the host name.
	Node string `yaml:"node"`
	// Groups are the node's groups: NODE_GROUPS.
	Groups []string `yaml:"groups"`
	// Mode is handed to plugins as MODE.
	Mode string `yaml:"mode"`
	// Tenant is the id that logs without one get.
	Tenant string `yaml:"default_tenant"`

	Log      Log     `yaml:"log"`
	HTTP     HTTP    `yaml:"http"`
	NATS     NATS    `yaml:"nats"`
	Input    Input   `yaml:"input"`
	Pipeline Dialect `yaml:"pipeline"`
	Stages   Stages  `yaml:"stages"`
	Plugins  Plugins `yaml:"plugins"`
}

// Log is how the node writes its own log.
type Log struct {
	Level  string `yaml:"level"`  // trace, debug, info, warn, error
	Format string `yaml:"format"` // auto (text on a terminal, else JSON), text, json
}

// HTTP is the console: /healthz, /readyz, /metrics.
type HTTP struct {
	Listen string `yaml:"listen"` // "" turns it off
}

// NATS is where streams are kept: an embedded server, or with URL an external
// one.
type NATS struct {
	URL         string `yaml:"url"`         // NATS_URL; "" means embedded
	Credentials string `yaml:"credentials"` // a .creds file
	Context     string `yaml:"context"`     // a file of the nats CLI's contexts
	TLS         TLS    `yaml:"tls"`         // external: what the node shows and trusts
	Replicas    int    `yaml:"replicas"`    // of each stream

	// Durability is what a log has to survive once it is acked: Survivals. The
	// node does not run where that is not so.
	Durability []string `yaml:"durability"`
	// ExternalSync is the operator's word for how an external server syncs, which
	// nobody can ask it: as Sync, "" where nothing is known.
	ExternalSync string `yaml:"external_sync"`

	Listen string `yaml:"listen"` // embedded: address for other clients, "" for none
	Sync   string `yaml:"sync"`   // embedded: "always", or an interval such as "2m"

	MaxPayload Size          `yaml:"max_payload"` // embedded: one stored message
	MaxStore   Size          `yaml:"max_store"`   // of each stream on disk; 0 for no limit
	Duplicates time.Duration `yaml:"duplicate_window"`

	Cluster Cluster `yaml:"cluster"`
	Leaf    Leaf    `yaml:"leaf"`
	Edges   Edges   `yaml:"edges"`
}

// Edges makes a node with an embedded server the hub of edges.
type Edges struct {
	Listen   string `yaml:"listen"` // address for edges; "" means none
	Users    string `yaml:"users"`  // a file: a line "NODE PASSWORD" for each
	TLS      TLS    `yaml:"tls"`
	Insecure bool   `yaml:"insecure"` // plain text beyond the loopback
}

// Leaf makes an edge of a node: its embedded server is a leaf of a hub, and what
// comes in is stored here and goes on to the hub.
type Leaf struct {
	URL         string `yaml:"url"`         // the hub's ports for leaf nodes; "" means no edge
	Credentials string `yaml:"credentials"` // a .creds file
	TLS         TLS    `yaml:"tls"`
	Insecure    bool   `yaml:"insecure"` // plain text beyond the loopback
}

// URLs are the hub's, one by one.
func (l Leaf) URLs() []string {
	var list []string
	for u := range strings.SplitSeq(l.URL, ",") {
		if u = strings.TrimSpace(u); u != "" {
			list = append(list, u)
		}
	}
	return list
}

// Cluster makes one JetStream cluster of the embedded servers of many nodes.
type Cluster struct {
	Name      string   `yaml:"name"`      // the same on all
	Listen    string   `yaml:"listen"`    // address for the other servers; "" means no cluster
	Advertise string   `yaml:"advertise"` // host:port at which they reach this one
	Routes    []string `yaml:"routes"`    // seeds, host:port; this node may be among them
	TLS       TLS      `yaml:"tls"`
	Insecure  bool     `yaml:"insecure"` // routes in plain text beyond the loopback
}

// TLS names the files of one side of a connection, in PEM.
type TLS struct {
	CA   string `yaml:"ca"`   // whom to trust
	Cert string `yaml:"cert"` // what to show
	Key  string `yaml:"key"`
}

// Given reports whether any file is named.
func (t TLS) Given() bool { return t != TLS{} }

// Embedded reports whether the node has a server of its own.
func (n NATS) Embedded() bool { return n.URL == "" && n.Context == "" }

// Clustered reports whether that server is one of a cluster.
func (n NATS) Clustered() bool { return n.Embedded() && n.Cluster.Listen != "" }

// Edge reports whether the node is an edge of a hub.
func (n NATS) Edge() bool { return n.Embedded() && n.Leaf.URL != "" }

// Input bounds the engine socket.
type Input struct {
	MaxLog      Size `yaml:"max_log"`      // a larger log is a dead letter
	MaxBuffered Size `yaml:"max_buffered"` // taken but not yet stored, all streams together
}

// Dialect is how pipeline files are understood where versions of the reference
// engine differ.
type Dialect struct {
	// KeepUnderscores keeps "_" in the names of fields that steps write. Filters
	// that were written for older engines want it removed.
	KeepUnderscores bool `yaml:"keep_underscores"`
}

// Stages bounds the work between streams.
type Stages struct {
	BatchItems int           `yaml:"batch_items"` // items in one stored message
	BatchBytes Size          `yaml:"batch_bytes"`
	Attempts   int           `yaml:"attempts"` // until an item is a dead letter
	AckWait    time.Duration `yaml:"ack_wait"` // until a silent node's work goes to another
}

// Plugins bounds calls to plugins and their processes.
type Plugins struct {
	InFlight    int           `yaml:"in_flight"`    // calls at once to one plugin
	CallTimeout time.Duration `yaml:"call_timeout"` // of one call
	MaxMessage  Size          `yaml:"max_message"`  // what a plugin receives; SDK plugins take 4 MiB
	Lane        bool          `yaml:"lane"`         // batch lanes are used where plugins have them
	StopGrace   time.Duration `yaml:"stop_grace"`   // between SIGTERM and SIGKILL
	RestartMin  time.Duration `yaml:"restart_min"`  // first pause before a restart
	RestartMax  time.Duration `yaml:"restart_max"`
}

// SyncInterval is how often the embedded server syncs its files; 0 means every
// write.
func (n NATS) SyncInterval() (time.Duration, error) {
	if n.Sync == "always" {
		return 0, nil
	}
	d, err := time.ParseDuration(n.Sync)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf(`nats.sync %q: give "always" or an interval such as "2m"`, n.Sync)
	}
	return d, nil
}
