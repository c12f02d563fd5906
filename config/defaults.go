package config

import (
	"os"
	"path/filepath"
	"time"
)

// Defaults is what holds where nothing is said.
func Defaults() Settings {
	node, err := os.Hostname()
	if err != nil || node == "" {
		node = "localhost"
	}
	return Settings{
		Dir:    defaultDir("/workdir"),
		Node:   node,
		Groups: []string{"default"},
		Mode:   "manager",
		Tenant: "00000000-0000-0000-0000-000000000000",
		Log:    Log{Level: "info", Format: "auto"},
		HTTP:   HTTP{Listen: "127.0.0.1:7480"},
		NATS: NATS{
			Replicas:   1,
			Listen:     "127.0.0.1:4222",
			Sync:       "always",
			MaxPayload: 8 * MiB,
			Duplicates: 2 * time.Minute,
			Cluster:    Cluster{Name: "epmesh"},
		},
		Input:    Input{MaxLog: MiB, MaxBuffered: 16 * MiB},
		Pipeline: Dialect{KeepUnderscores: true},
		Stages: Stages{
			BatchItems: 256,
			BatchBytes: 512 * KiB,
			Attempts:   8,
			AckWait:    10 * time.Second,
		},
		Plugins: Plugins{
			InFlight:    128,
			CallTimeout: 30 * time.Second,
			MaxMessage:  4 * MiB,
			Lane:        true,
			StopGrace:   2 * time.Second,
			RestartMin:  500 * time.Millisecond,
			RestartMax:  30 * time.Second,
		},
	}
}

// defaultDir is the ecosystem's work dir where that exists, as in its
// containers, else a folder beside the user.
func defaultDir(shared string) string {
	if info, err := os.Stat(shared); err == nil && info.IsDir() {
		return shared
	}
	dir, err := filepath.Abs("workdir")
	if err != nil {
		return shared // without a current folder nothing relative works
	}
	return dir
}

// The folders below the work dir that the ecosystem knows.

// PipelineDir holds the pipeline files.
func (s Settings) PipelineDir() string { return filepath.Join(s.Dir, "pipeline") }

// RulesDir holds the rules.
func (s Settings) RulesDir() string { return filepath.Join(s.Dir, "rules") }

// SocketDir holds the sockets of the engine and of plugins.
func (s Settings) SocketDir() string { return filepath.Join(s.Dir, "sockets") }

// PluginDir holds plugin executables.
func (s Settings) PluginDir() string { return filepath.Join(s.Dir, "plugins") }
