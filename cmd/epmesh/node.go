package main

import (
	"fmt"
	"os"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/telemetry"
	"github.com/epmesh/epmesh/plugins/bundled"
	"github.com/hashicorp/go-hclog"
)

// nodeFlags are the settings that up and node have flags for. A pointer is nil
// where the flag was not given: an empty address turns a listener off.
type nodeFlags struct {
	WorkDir  string  `name:"work-dir" placeholder:"DIR" help:"Work dir; everything of the node lies below it (WORK_DIR)."`
	HTTP     *string `name:"http" placeholder:"ADDR" help:"Address of health, metrics and pages; port 0 takes a free one, empty turns it off."`
	NATS     *string `name:"nats" placeholder:"ADDR" help:"Address of the embedded NATS server for other programs; port 0 takes a free one, empty turns it off."`
	Sync     string  `name:"sync" placeholder:"SYNC" help:"When the embedded server writes to disk: always (before each Ack), or an interval such as 2m."`
	LogLevel string  `name:"log-level" placeholder:"LEVEL" help:"What the node logs: trace, debug, info, warn or error."`
}

// override puts the flags over the settings.
func (f *nodeFlags) override(s *config.Settings) {
	if f.HTTP != nil {
		s.HTTP.Listen = *f.HTTP
	}
	if f.NATS != nil {
		s.NATS.Listen = *f.NATS
	}
	if f.Sync != "" {
		s.NATS.Sync = f.Sync
	}
	if f.LogLevel != "" {
		s.Log.Level = f.LogLevel
	}
}

type nodeCmd struct {
	nodeFlags
	Config string `name:"config" placeholder:"FILE" help:"Settings file; epmesh.yaml in the work dir if not given."`
	URL    string `name:"url" placeholder:"URL" help:"External NATS server or cluster, instead of the embedded server (NATS_URL)."`
	Check  bool   `name:"check" help:"Only check settings, pipeline files and rules, and say what is wrong."`
}

func (nodeCmd) Help() string {
	return `What comes later counts more: defaults, settings file, environment, flags.
It runs until SIGTERM or Ctrl-C, finishes what it holds, and exits with 0.

Examples:
  epmesh node --work-dir /var/lib/epmesh
  epmesh node --config /etc/epmesh.yaml --check
  NATS_URL=nats://nats-1:4222 epmesh node`
}

func (c *nodeCmd) Run(a *app) error {
	var warnings []config.Problem
	s, err := config.LoadSettings(config.Sources{
		File: c.Config, Dir: c.WorkDir, Lookup: os.LookupEnv, Environ: os.Environ(),
		Override: func(s *config.Settings) {
			c.override(s)
			if c.URL != "" {
				s.NATS.URL, s.NATS.Context = c.URL, ""
			}
		},
		Warn: func(p config.Problem) { warnings = append(warnings, p) },
	})
	if c.Check {
		return checkNode(a, s, warnings, err)
	}
	if err != nil {
		return err
	}
	log, err := newLogger(a, s)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn("settings", "problem", w.String())
	}
	o, err := nodeOptions(s, log)
	if err != nil {
		return err
	}
	o.Ready = func(at node.Addresses) {
		log.Info("ready", "engine", at.Engine, "http", at.HTTP, "nats", at.NATS)
	}
	spareMemory()
	return node.Run(a.ctx, o)
}

// newLogger is the node's logger, which writes to standard error.
func newLogger(a *app, s config.Settings) (hclog.Logger, error) {
	return telemetry.NewLogger(telemetry.LogOptions{Name: "epmesh", Level: s.Log.Level, Format: s.Log.Format, Output: a.stderr})
}

// nodeOptions wire a node to this program: bundled plugins and the guard are the
// same binary again.
func nodeOptions(s config.Settings, log hclog.Logger) (node.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return node.Options{}, fmt.Errorf("find this program's file, which bundled plugins are run from: %w", err)
	}
	return node.Options{
		Settings: s, Version: readBuild().Version, Logger: log,
		Bundled:   func(name, _ string) []string { return []string{self, "plugin", "run", name} },
		Announces: func(name string) bool { return name == "syslog" },
		BundledKind: func(name string) string {
			info, _ := bundled.Lookup(name)
			return info.Kind
		},
		Guard: []string{self, "guard"},
	}, nil
}
