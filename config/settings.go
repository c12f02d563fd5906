package config

import (
	"fmt"
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
	Replicas    int    `yaml:"replicas"`    // of each stream

	Listen string `yaml:"listen"` // embedded: address for other clients, "" for none
	Sync   string `yaml:"sync"`   // embedded: "always", or an interval such as "2m"

	MaxPayload Size          `yaml:"max_payload"` // embedded: one stored message
	MaxStore   Size          `yaml:"max_store"`   // of each stream on disk; 0 for no limit
	Duplicates time.Duration `yaml:"duplicate_window"`
}

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
