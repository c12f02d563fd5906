package offline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/workdir"
)

// maxRestart bounds the pause before a plugin that has ended is started again:
// whoever waits here waits for it.
const maxRestart = time.Second

// open makes the way to the plugins that the pipelines name. Where they name
// none, nothing is watched or started.
func (r *Runner) open() error {
	names := r.lines.Plugins()
	if len(names) == 0 {
		return nil
	}
	s, o := r.opts.Settings, r.opts
	if o.Start {
		for _, dir := range []string{s.Dir, s.SocketDir()} {
			if err := os.MkdirAll(dir, 0o750); err != nil {
				return fmt.Errorf("work dir: %w", err)
			}
		}
		release, err := workdir.Lock(s.Dir)
		if used, ok := errors.AsType[*workdir.InUse](err); ok {
			return fmt.Errorf("process %s runs the plugins of %s already: leave --plugins out, and those that serve there are called", used.Process, used.Dir)
		}
		if err != nil {
			return err
		}
		r.release = release
		r.processes = plugin.NewProcesses(plugin.ProcessOptions{
			WorkDir: s.Dir, Logger: o.Logger.Named("plugin"), Node: s.Node, Groups: s.Groups, LogLevel: s.Log.Number(), Mode: s.Mode,
			NATSURL: s.NATS.URL, Guard: o.Guard, Grace: s.Plugins.StopGrace,
			RestartMin: min(s.Plugins.RestartMin, maxRestart), RestartMax: min(s.Plugins.RestartMax, maxRestart),
			Only: func(name string) bool { return slices.Contains(names, name) },
		})
		if err := r.processes.Apply(r.bundled(names)); err != nil {
			release()
			return err
		}
	}
	r.registry = plugin.NewRegistry(plugin.Options{
		Dir: s.SocketDir(), Logger: o.Logger.Named("plugins"), InFlight: s.Plugins.InFlight, CallTimeout: s.Plugins.CallTimeout,
		MaxMessage: int(s.Plugins.MaxMessage), MaxReply: int(s.NATS.MaxPayload), NoLane: !s.Plugins.Lane,
	})
	for _, name := range names {
		r.doors[name] = &door{name: name, client: r.registry.Client(plugin.Parsing, name)}
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.serve(ctx, r.registry.Serve)
	if r.processes != nil {
		r.serve(ctx, r.processes.Serve)
	}
	return nil
}

func (r *Runner) serve(ctx context.Context, serve func(context.Context) error) {
	r.services.Go(func() {
		if err := serve(ctx); err != nil && ctx.Err() == nil {
			r.opts.Tell("no plugin can be called: " + err.Error())
		}
	})
}

// sweep removes the sockets of plugins that were killed, and so did not do it
// themselves. One that somebody serves stays.
func (r *Runner) sweep() {
	for name := range r.doors {
		path := filepath.Join(r.opts.Settings.SocketDir(), plugin.SocketName(plugin.Parsing, name))
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			// What cannot be removed, the plugin replaces when it comes again.
			_ = os.Remove(path)
		}
	}
}

// bundled are the bundled plugins that dynamic steps call.
func (r *Runner) bundled(names []string) []plugin.Spec {
	var specs []plugin.Spec
	for served, name := range r.set.Bundled() {
		if slices.Contains(names, served) && r.opts.Bundled != nil && r.parses(name) {
			specs = append(specs, plugin.Spec{Name: served, Argv: r.opts.Bundled(name, served)})
		}
	}
	return specs
}

// parses reports whether a bundled plugin may be one that parses.
func (r *Runner) parses(bundled string) bool {
	if r.opts.BundledKind == nil {
		return true
	}
	kind := r.opts.BundledKind(bundled)
	return kind == "" || kind == string(plugin.Parsing)
}

// cure says what to do about a plugin that is not there.
func (r *Runner) cure(name string) string {
	if r.processes == nil {
		return "start it, or let --plugins start it"
	}
	for _, p := range r.processes.Snapshot() {
		if p.Name != name {
			continue
		}
		text := fmt.Sprintf("its process is %s", p.State)
		if p.LastExit != "" {
			text += ", last " + p.LastExit
		}
		if p.LastLine != "" {
			text += ": " + p.LastLine
		}
		return text + "; give it longer with --plugin-timeout, or see its log with --log-level info"
	}
	if bundled := r.set.Bundled()[name]; bundled != "" && !r.parses(bundled) {
		return fmt.Sprintf("plugins.%s.bundled is %s, which parses nothing", name, bundled)
	}
	return fmt.Sprintf("there is no executable %s.plugin below %s", name, r.opts.Settings.PluginDir())
}
