package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/conform"
	"github.com/epmesh/epmesh/plugins/bundled"
)

type pluginCheckCmd struct {
	Target   []string      `arg:"" optional:"" name:"target" help:"The executable, its socket if it runs, or after -- a command with arguments."`
	Bundled  string        `name:"bundled" placeholder:"NAME" help:"Check a bundled plugin."`
	Kind     string        `name:"kind" enum:",parsing,analysis,correlation,notification,output,input" default:"" help:"What it is to be; any kind if left out."`
	Name     string        `name:"name" help:"The name that it is to serve under; any if left out."`
	Config   []string      `name:"config" placeholder:"PATH" help:"A pipeline file, or a work dir whose pipeline, rules and geolocation folders the plugin gets; can be repeated."`
	Env      []string      `name:"env" placeholder:"KEY=VALUE" sep:"none" help:"Add to the plugin's environment; can be repeated."`
	Sample   string        `name:"sample" placeholder:"FILE" help:"The usual item as JSON: a draft, an event, an alert or a message."`
	Feed     string        `name:"feed" placeholder:"COMMAND" help:"A shell command that makes an input plugin produce logs."`
	Sequence string        `name:"sequence" placeholder:"REGEXP" help:"Finds in raw a number that rises by one from log to log, to count what is lost."`
	Start    time.Duration `name:"start" default:"10s" help:"How long it may take until it serves."`
	Wait     time.Duration `name:"wait" default:"15s" help:"How long an input may take until its first log."`
	Grace    time.Duration `name:"grace" default:"2s" help:"How long it may take to stop, as plugins.stop_grace of the node."`
	Call     time.Duration `name:"call" default:"10s" help:"How long one call may take."`
	Deliver  bool          `name:"deliver" help:"Call a running plugin that delivers or keeps what it is given: it will do so with hundreds of made-up items."`
	Only     []string      `name:"only" placeholder:"CHECK,..." help:"Make only these checks, besides start and call."`
	Strict   bool          `name:"strict" help:"Fail on warnings too."`
	Verbose  bool          `name:"verbose" short:"v" help:"Show what the plugin writes."`
	JSON     bool          `name:"json" help:"Print JSON, one check a line."`
}

func (pluginCheckCmd) Help() string {
	return `Starts the plugin as a node would, in a work dir of its own, and finds out whether it keeps
the contract: socket, replies, sizes, many calls at once, odd input, restart after SIGKILL, stop
on SIGTERM; of an input, whether it waits for Acks and survives a restart of the node. No mesh is
needed. A running plugin is only called.

Ends with 1 if the contract is broken, with 3 if nobody serves the socket.

Examples:
  epmesh plugin check ./my-enricher.plugin
  epmesh plugin check ./my-source.plugin --config my-source.yaml --sequence 'n=([0-9]+)'
  epmesh plugin check --kind parsing -- python3 enricher.py
  epmesh plugin check /var/lib/epmesh/sockets/my-enricher_parsing.sock`
}

func (c *pluginCheckCmd) Run(a *app) error {
	o := conform.Options{
		Name: c.Name, Kind: c.Kind, Env: c.Env, Feed: c.Feed, Only: c.Only,
		Start: c.Start, Wait: c.Wait, Grace: c.Grace, Call: c.Call,
	}
	if err := c.target(&o); err != nil {
		if _, ok := errors.AsType[coded](err); ok {
			return err
		}
		return usagef("%w", err)
	}
	if err := c.settings(&o); err != nil {
		return usagef("%w", err)
	}
	var told error
	o.Tell = func(r conform.Result) {
		if err := c.print(a, r); err != nil && told == nil {
			told = err
		}
	}
	if c.Verbose {
		o.Output = func(l plugin.Line) { complain(a.stderr, "plugin: "+l.Level.String()+" "+l.Message) }
	}
	report, err := conform.Check(a.ctx, o)
	switch {
	case errors.Is(err, conform.ErrUnreachable):
		return unreachablef("%w: is the plugin running?", err)
	case interrupted(a.ctx):
		complain(a.stderr, "interrupted: the checks after the last one shown were not made")
		return errSilent
	case err != nil:
		return err
	case told != nil:
		return told
	}
	fails, warnings := report.Count(conform.Fail), report.Count(conform.Warn)
	complain(a.stderr, fmt.Sprintf("%s: %d ok, %s, %d failed", c.what(report), report.Count(conform.OK), count(warnings, "warning"), fails))
	if fails > 0 || c.Strict && warnings > 0 {
		return errSilent
	}
	return nil
}

func (c *pluginCheckCmd) what(r *conform.Report) string {
	if len(r.Kinds) == 0 {
		return "plugin"
	}
	return strings.Join(r.Kinds, " and ") + " plugin"
}

// target finds out what is to be checked.
func (c *pluginCheckCmd) target(o *conform.Options) error {
	switch {
	case c.Bundled != "" && len(c.Target) > 0:
		return errors.New("--bundled checks a bundled plugin: leave the executable out")
	case c.Bundled != "":
		if _, ok := bundled.Lookup(c.Bundled); !ok {
			return fmt.Errorf("there is no bundled plugin %q; epmesh plugin list shows what there is", c.Bundled)
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Argv = []string{self, "plugin", "run", c.Bundled}
		if o.Name == "" {
			o.Name = c.Bundled
		}
		return nil
	case len(c.Target) == 0:
		return errors.New("check what? Name an executable, the socket of a plugin that runs, or --bundled NAME")
	}
	path := c.Target[0]
	if conform.IsSocket(path) {
		return c.socket(o, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder: name the executable in it", path)
	case err == nil && len(c.Target) == 1 && info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x %s", path, path)
	case err == nil && info.Mode().Perm()&0o111 != 0:
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
	case strings.HasSuffix(path, ".sock"):
		return unreachablef("%s: no such socket: is the plugin running? Sockets lie in WORK_DIR/sockets", path)
	default:
		found, err := exec.LookPath(path)
		if err != nil {
			return fmt.Errorf("%s: no such executable: build it first, or name its path", path)
		}
		path = found
	}
	o.Argv = append([]string{path}, c.Target[1:]...)
	if name, ok := strings.CutSuffix(filepath.Base(path), ".plugin"); ok && plugin.CheckName(name) == nil {
		o.File = name
	}
	if len(c.Target) > 1 {
		// A command's arguments are paths from here, and no node would start it.
		if o.Dir, err = os.Getwd(); err != nil {
			return err
		}
	}
	return nil
}

// socket checks a plugin that runs.
func (c *pluginCheckCmd) socket(o *conform.Options, path string) error {
	if len(c.Target) > 1 || c.Feed != "" || len(c.Env) > 0 {
		return errors.New("a plugin that runs is only called: name its socket alone, without --feed and --env")
	}
	kind, _, err := conform.SocketKind(path)
	if err != nil {
		return err
	}
	if kind != plugin.Parsing && kind != plugin.Analysis && !c.Deliver {
		return fmt.Errorf("a %s plugin delivers or keeps what it is given, here hundreds of made-up items: say --deliver if it may, or check its executable, which gets a work dir of its own", kind)
	}
	o.Socket = path
	return nil
}

// settings prepares what the plugin is given.
func (c *pluginCheckCmd) settings(o *conform.Options) error {
	for _, name := range c.Only {
		if !slices.Contains(conform.Checks, name) {
			return fmt.Errorf("--only: there is no check %q; there are %s", name, strings.Join(conform.Checks, ", "))
		}
	}
	for _, e := range c.Env {
		if key, _, ok := strings.Cut(e, "="); !ok || key == "" {
			return fmt.Errorf("--env %s: write KEY=VALUE", e)
		}
	}
	if c.Sample != "" {
		info, err := os.Stat(c.Sample)
		if err != nil {
			return fmt.Errorf("--sample: %w", err)
		}
		if info.Size() > 4<<20 {
			return fmt.Errorf("--sample: %s has %d bytes, a node sends at most 4 MiB", c.Sample, info.Size())
		}
		if o.Sample, err = os.ReadFile(c.Sample); err != nil {
			return fmt.Errorf("--sample: %w", err)
		}
	}
	if c.Sequence != "" {
		re, err := regexp.Compile(c.Sequence)
		if err != nil {
			return fmt.Errorf("--sequence: %w", err)
		}
		if re.NumSubexp() < 1 {
			return errors.New("--sequence: put the number in parentheses, such as 'n=([0-9]+)'")
		}
		o.Sequence = re
	}
	files, err := configFiles(c.Config)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	o.Prepare = func(workDir string) error { return copyConfig(files, workDir) }
	if len(files) > 0 {
		name := o.Name
		if name == "" {
			name = o.File
		}
		if o.Params, err = dynamicParams(files, name); err != nil {
			return fmt.Errorf("--config: %w", err)
		}
	}
	return nil
}

// dynamicParams are the parameters of the first dynamic step that calls a plugin;
// with only one such step in all files, whatever it calls.
func dynamicParams(files []configFile, name string) (map[string]any, error) {
	dir, err := os.MkdirTemp("", "epmesh")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := copyConfig(files, dir); err != nil {
		return nil, err
	}
	set, report := config.Load(filepath.Join(dir, "pipeline"))
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("%w; epmesh check says more", err)
	}
	var all []map[string]any
	for _, p := range set.Pipelines {
		for _, s := range p.Steps {
			d := s.Proto.GetDynamic()
			if d == nil {
				continue
			}
			params := map[string]any{}
			for k, v := range d.GetParams() {
				params[k] = v.AsInterface()
			}
			if d.GetPlugin() == name {
				return params, nil
			}
			all = append(all, params)
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return nil, nil
}

// print shows one result.
func (c *pluginCheckCmd) print(a *app, r conform.Result) error {
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(r)
	}
	check := r.Check
	if r.Kind != "" {
		check = r.Kind + " " + r.Check
	}
	text := fmt.Sprintf("%-4s  %-24s  %s\n", r.Status, check, printable(r.Seen))
	if r.Cure != "" {
		text += fmt.Sprintf("%32s  %s\n", "cure:", printable(r.Cure))
	}
	_, err := a.stdout.Write([]byte(text))
	return err
}
