package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
)

type upCmd struct {
	nodeFlags
	Demo   bool    `name:"demo" help:"Make up traffic with attacks in it, and show what comes of it."`
	JSON   bool    `name:"json" help:"Print where it listens as one line of JSON once it is ready; with --demo, alerts as JSON too."`
	Syslog *string `name:"syslog" placeholder:"ADDR" help:"Address for syslog over UDP and TCP (127.0.0.1:5514); port 0 takes a free one, empty turns it off."`
	Ingest *string `name:"ingest" placeholder:"ADDR" help:"Address for logs over HTTP: lines, JSON, OTLP (127.0.0.1:7481); port 0 takes a free one, empty turns it off."`
	Keep   bool    `name:"archive" help:"Keep events and alerts in WORK_DIR/archive, up to 1 GB; the oldest go."`
	Rate   float64 `name:"rate" placeholder:"N" default:"200" help:"Logs a second that --demo makes up (${default})."`
}

func (upCmd) Help() string {
	return `The work dir is made if it is not there, with a starter configuration in
pipeline/00-epmesh-up.yaml; files of your own stay as they are. Where a default port
is in use, a free one is taken. Ctrl-C finishes what is under way and ends it.

Examples:
  epmesh up --demo
  epmesh up --work-dir /var/lib/epmesh --syslog 0.0.0.0:514
  epmesh up --json --syslog 127.0.0.1:0 --http 127.0.0.1:0 --nats 127.0.0.1:0`
}

// maxRate is what the demo can be asked for, in logs a second.
const maxRate = 1e6

func (c *upCmd) Run(a *app) error {
	if c.Rate < 0 || c.Rate > maxRate {
		return usagef("--rate %v: want 0 to %.0f logs a second", c.Rate, maxRate)
	}
	s, err := c.settings(a)
	if err != nil {
		return err
	}
	if err := prepareDir(s.Dir); err != nil {
		return err
	}
	start := starter{Demo: c.Demo, Rate: c.Rate, Archive: c.Keep}
	for _, l := range []struct {
		logAddress
		asked *string
		addr  *string
	}{{syslogAddress, c.Syslog, &start.Syslog}, {ingestAddress, c.Ingest, &start.Ingest}} {
		addr, note, err := l.choose(a.ctx, l.asked)
		if err != nil {
			return err
		}
		if note != "" {
			complain(a.stderr, note)
		}
		*l.addr = addr
	}
	if err := start.lay(a.ctx, s); err != nil {
		return err
	}
	log, err := newLogger(a, s)
	if err != nil {
		return err
	}
	o, err := nodeOptions(s, log)
	if err != nil {
		return err
	}
	// The show ends before the node does: it looks at the node's own server.
	ctx, end := context.WithCancel(a.ctx)
	view := newShow(c, a, s)
	o.Ready = view.ready
	var shown sync.WaitGroup
	shown.Go(func() { view.run(ctx) })
	spareMemory()
	err = node.Run(a.ctx, o)
	end()
	shown.Wait()
	return err
}

// settings are those of a node, and what up makes of them.
func (c *upCmd) settings(a *app) (config.Settings, error) {
	var notes []string
	s, err := config.LoadSettings(config.Sources{
		Dir: c.WorkDir, Lookup: os.LookupEnv, Environ: os.Environ(),
		Override: func(s *config.Settings) {
			standard := config.Defaults()
			if s.Log.Level == standard.Log.Level && !logLevelAsked() && (c.Demo || isTerminal(a.stderr)) {
				// What happens is shown; the node's own doings would hide it.
				s.Log.Level = "warn"
			}
			if c.HTTP == nil {
				s.HTTP.Listen = keep(&notes, "http", s.HTTP.Listen, standard.HTTP.Listen)
			}
			if c.NATS == nil && s.NATS.URL == "" && s.NATS.Context == "" {
				s.NATS.Listen = keep(&notes, "nats", s.NATS.Listen, standard.NATS.Listen)
			}
			c.override(s)
		},
		Warn: func(p config.Problem) { complain(a.stderr, p.String()) },
	})
	if err != nil {
		return s, err
	}
	if err := inUse(s.Dir); err != nil {
		return s, err // which is why the ports are busy
	}
	for _, n := range notes {
		complain(a.stderr, n)
	}
	return s, nil
}

func logLevelAsked() bool { return os.Getenv("LOG_LEVEL") != "" || os.Getenv("EPMESH_LOG_LEVEL") != "" }

func keep(notes *[]string, name, addr, standard string) string {
	chosen, note := choose(name, addr, standard)
	if note != "" {
		*notes = append(*notes, note)
	}
	return chosen
}

// upJSON is what --json prints once everything runs.
type upJSON struct {
	Syslog  string `json:"syslog,omitempty"` // host:port, UDP and TCP
	Ingest  string `json:"ingest,omitempty"` // host:port, logs over HTTP
	HTTP    string `json:"http,omitempty"`   // host:port
	NATS    string `json:"nats,omitempty"`   // host:port
	Engine  string `json:"engine"`           // path of the engine socket
	Node    string `json:"node"`
	WorkDir string `json:"work_dir"`
}

// where puts together what listens where.
func where(s config.Settings, at node.Addresses) upJSON {
	u := upJSON{HTTP: at.HTTP, NATS: strings.TrimPrefix(at.NATS, "nats://"), Engine: at.Engine, Node: s.Node, WorkDir: s.Dir}
	// A user's own file may have moved it.
	if l := at.Plugins["syslog"]; len(l) > 0 {
		u.Syslog = l[0].Address
	}
	if l := at.Plugins["ingest"]; len(l) > 0 {
		u.Ingest = l[0].Address
	}
	return u
}

func (u upJSON) line() string {
	text, err := json.Marshal(u)
	if err != nil {
		return "" // cannot be: texts
	}
	return string(text)
}

// text is the same for people, with where to look next. next is how a command is
// given, with COMMAND in it.
func (u upJSON) text(next, durability string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "epmesh is up: node %s in %s\n\n", u.Node, u.WorkDir)
	web := func(addr, path string) string {
		if addr == "" {
			return ""
		}
		return "http://" + addr + path
	}
	columns(&b, [][2]string{
		{u.Syslog, "syslog, over UDP and TCP"},
		{web(u.Ingest, "/logs"), "lines and JSON; OTLP on /v1/logs"},
		{u.Engine, "logs from input plugins"},
		{web(u.HTTP, ""), "/healthz, /readyz, /metrics"},
		{u.NATS, "the streams (NATS), for epmesh commands"},
	})
	if durability != "" {
		fmt.Fprintf(&b, "\n  %s\n", durability)
	}
	command := func(s string) string { return strings.Replace(next, "COMMAND", s, 1) }
	fmt.Fprint(&b, "\nLook next, in another terminal:\n\n")
	columns(&b, [][2]string{
		{command("tap events"), "what passes, live; also logs, alerts, messages, dead"},
		{command("status"), "plugins, stages, what is pending"},
		{command("dead list"), "what could not be worked on, and why"},
		{filepath.Join(u.WorkDir, "pipeline"), "what is done with logs; edit it, it is reloaded"},
		{filepath.Join(u.WorkDir, "rules"), "what raises alerts"},
	})
	fmt.Fprint(&b, "\nCtrl-C ends it.\n")
	return b.String()
}

// columns writes what is there, and what it is, one below the other.
func columns(w io.Writer, rows [][2]string) {
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r[0]))
	}
	for _, r := range rows {
		if r[0] != "" {
			fmt.Fprintf(w, "  %-*s  %s\n", longest, r[0], r[1])
		}
	}
}
