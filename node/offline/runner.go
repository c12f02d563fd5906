package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
)

// DefaultWait is how long a plugin that is not there is waited for.
const DefaultWait = 5 * time.Second

// Options say how a Runner works. Settings must be a node's; the rest may be
// left out.
type Options struct {
	Settings config.Settings
	// Pipeline are the options of the compiled pipelines.
	Pipeline pipeline.Options

	// Start the parsing plugins that the pipelines name, from the work dir's
	// folder of plugins and the bundled ones. Else those are called that serve
	// in the folder of sockets, whoever started them.
	Start bool
	// Bundled, BundledKind and Guard are as in node.Options.
	Bundled     func(bundled, served string) []string
	BundledKind func(bundled string) string
	Guard       []string

	// Wait is how long a plugin that is not there is waited for, once each time
	// that it goes away; 0 is DefaultWait.
	Wait time.Duration
	// Tell is called with what a person should know, each thing once, from any
	// goroutine. nil: nobody is told.
	Tell func(text string)
	// Logger gets the life and the output of plugins; nil for nobody.
	Logger hclog.Logger
}

// Runner makes events of logs. Its methods but Close may be called by many
// goroutines at once.
type Runner struct {
	opts     Options
	set      *config.Set
	lines    *pipeline.Set
	problems config.Report
	listed   map[string]bool // data types

	doors     map[string]*door // by plugin
	registry  *plugin.Registry
	processes *plugin.Processes // nil if none are started
	stop      context.CancelFunc
	services  sync.WaitGroup
	release   func() // of the work dir
}

// ErrRefused is wrapped by errors about logs that a node does not take at all.
var ErrRefused = errors.New("a node takes no such log")

// Open loads the pipeline files of the work dir and makes a Runner of them. As
// in a node that starts, a file with an error is left out, and a step with one
// is noted on the events that meet it: Problems tells. An error means that
// nothing can be run; Close must not be called then.
func Open(o Options) (*Runner, error) {
	dir := o.Settings.PipelineDir()
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pipeline files: there is no folder %s; name the folder that holds pipeline/ with --work-dir", dir)
	} else if err != nil {
		return nil, fmt.Errorf("pipeline files: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("pipeline files: %s is no folder", dir)
	}
	set, report := config.Load(dir)
	return New(set, report, o)
}

// New makes a Runner of a configuration that was loaded before; report is what
// was found in it then, for Problems.
func New(set *config.Set, report config.Report, o Options) (*Runner, error) {
	if o.Wait <= 0 {
		o.Wait = DefaultWait
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	o.Pipeline.StripUnderscore = !o.Settings.Pipeline.KeepUnderscores
	r := &Runner{opts: o, set: set, problems: report, listed: map[string]bool{}, doors: map[string]*door{}, stop: func() {}, release: func() {}}
	for _, p := range set.Pipelines {
		for _, dataType := range p.DataTypes {
			r.listed[dataType] = true
		}
	}
	lines, problems := pipeline.Compile(set, o.Pipeline)
	r.lines = lines
	for _, p := range problems {
		r.problems = append(r.problems, config.Problem{
			Position: p.Position, Severity: config.Error, Message: fmt.Sprintf("%s: %v", p.Kind, p.Err),
		})
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Problems are what is wrong with the configuration.
func (r *Runner) Problems() config.Report { return r.problems }

// Config is the configuration.
func (r *Runner) Config() *config.Set { return r.set }

// Pipelines are what logs run through.
func (r *Runner) Pipelines() *pipeline.Set { return r.lines }

// Run makes an event of a log. What the log lacks (id, data type, data source,
// timestamp, tenant) is filled in first, as the engine socket does; the rest of
// it is not changed. An error that is not the context's says why the log cannot
// become an event: a node would make it a dead letter.
func (r *Runner) Run(ctx context.Context, log *pb.Log) (result pipeline.Result, err error) {
	if err := r.complete(log); err != nil {
		return pipeline.Result{}, err
	}
	// As in a node, a panic is the log's end and nothing else's.
	defer func() {
		if p := recover(); p != nil {
			r.opts.Logger.Error("pipeline panicked", "panic", p, "stack", string(debug.Stack()))
			result, err = pipeline.Result{}, fmt.Errorf("panic: %v", p)
		}
	}()
	return r.lines.Run(ctx, log, r.call)
}

// Explain is Run that tells what each step did.
func (r *Runner) Explain(ctx context.Context, log *pb.Log) (pipeline.Result, []pipeline.Trace, error) {
	if err := r.complete(log); err != nil {
		return pipeline.Result{}, nil, err
	}
	return r.lines.Explain(ctx, log, r.call)
}

func (r *Runner) complete(log *pb.Log) error {
	if log.GetRaw() == "" {
		return fmt.Errorf("%w: raw is empty", ErrRefused)
	}
	d := wire.LogDefaults{Tenant: r.opts.Settings.Tenant, Now: time.Now()}
	if log.GetId() == "" {
		d.ID = uuid.NewString()
	}
	d.Complete(log)
	return nil
}

// Close stops the plugins that were started and returns once they have ended.
// It is called once, when no other method runs.
func (r *Runner) Close() {
	r.stop()
	r.services.Wait()
	if r.processes != nil {
		r.sweep()
	}
	r.release()
}
