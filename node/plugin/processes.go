package plugin

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ProcessOptions are the settings of Processes. What is zero takes its default.
type ProcessOptions struct {
	// WorkDir is WORK_DIR. Executables are looked for in its folder plugins.
	WorkDir string
	Logger  hclog.Logger

	// Only says of an executable's name whether it is to be run; nil: all are.
	Only func(name string) bool

	// What plugins are told: NODE_NAME, NODE_GROUPS ("default"), LOG_LEVEL
	// (200), MODE ("manager"), NATS_URL (unset if empty). Node has no default.
	Node     string
	Groups   []string
	LogLevel int
	Mode     string
	NATSURL  string
	// PassEnv names variables of the node that plugins get besides the basics
	// (PATH, HOME, TZ, LANG, LC_ALL, TMPDIR).
	PassEnv []string

	// Guard is the command that runs GuardMain; the path of its lock file is
	// added as last argument. Without it, descendants of plugins may survive a
	// SIGKILL of the node.
	Guard []string

	Grace      time.Duration // between SIGTERM and SIGKILL; 3s
	RestartMin time.Duration // first pause before a restart; 100ms
	RestartMax time.Duration // longest; 30s
	// IdleWithin: exit code 0 sooner than this after the start means that the
	// plugin is not for this node; 3s.
	IdleWithin time.Duration
	Rescan     time.Duration // between looks at the folder of plugins; 5s

	// Tenure waits until a singleton may run here, or ctx ends. It is called by
	// each singleton's loop before each start. Without it singletons do not run.
	Tenure func(ctx context.Context, name string) (*Tenure, error)
}

func (o *ProcessOptions) setDefaults() {
	if dir, err := filepath.Abs(o.WorkDir); err == nil {
		o.WorkDir = dir
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if len(o.Groups) == 0 {
		o.Groups = []string{"default"}
	}
	if o.LogLevel == 0 {
		o.LogLevel = 200
	}
	if o.Mode == "" {
		o.Mode = "manager"
	}
	if o.Grace <= 0 {
		o.Grace = 3 * time.Second
	}
	if o.RestartMin <= 0 {
		o.RestartMin = 100 * time.Millisecond
	}
	if o.RestartMax <= 0 {
		o.RestartMax = 30 * time.Second
	}
	o.RestartMax = max(o.RestartMax, o.RestartMin)
	if o.IdleWithin <= 0 {
		o.IdleWithin = 3 * time.Second
	}
	if o.Rescan <= 0 {
		o.Rescan = 5 * time.Second
	}
}

// Processes runs the plugins that are this node's own: the executables
// WORK_DIR/plugins/**/*.plugin, and what Apply names (the bundled ones).
//
// Each has a loop of its own, which nothing of another plugin can hold up. A
// suture supervisor for each would not do: it counts failures into a rate, with
// one fixed pause; here the pause grows, exit code 0 has a meaning, and a crash
// loop is a state to be seen.
type Processes struct {
	opts    ProcessOptions
	log     hclog.Logger
	changes notifier
	poked   chan struct{}
	guard   *guard // nil without a command for it
	starter starter

	mu       sync.Mutex
	specs    []Spec
	single   []string // names of singletons
	running  map[string]*process
	problems map[string]string // that have been said
}

// NewProcesses makes the set; Serve runs it.
func NewProcesses(o ProcessOptions) *Processes {
	o.setDefaults()
	p := &Processes{
		opts: o, log: o.Logger,
		poked:    make(chan struct{}, 1),
		running:  make(map[string]*process),
		problems: make(map[string]string),
	}
	if len(o.Guard) > 0 {
		p.guard = newGuard(o.Guard, filepath.Join(o.WorkDir, "run", "guard.lock"), o.Logger)
	}
	return p
}

func (ps *Processes) String() string { return "plugin processes" }

// Apply says which plugins should run besides the executables: new ones are
// started, missing ones stopped, changed ones stopped and started. A set with a
// mistake is refused whole. It does not wait, and may be called before Serve.
func (ps *Processes) Apply(specs []Spec) error {
	if err := checkSpecs(specs); err != nil {
		return fmt.Errorf("plugin processes: %w", err)
	}
	ps.mu.Lock()
	ps.specs = slices.Clone(specs)
	ps.mu.Unlock()
	ps.poke()
	return nil
}

// SetSingletons says which plugins, of those that Apply names and of the
// executables, run under a Tenure. Those for which that changes are started
// again. It does not wait, and may be called before Serve.
func (ps *Processes) SetSingletons(names []string) {
	ps.mu.Lock()
	ps.single = slices.Clone(names)
	ps.mu.Unlock()
	ps.poke()
}

// poke has Serve look at everything again.
func (ps *Processes) poke() {
	select {
	case ps.poked <- struct{}{}:
	default:
	}
}

// Serve runs the plugins until ctx ends, then stops them all and returns once
// every one has ended. Before it starts any, it waits until the plugins of an
// earlier node in the same work dir have ended.
func (ps *Processes) Serve(ctx context.Context) error {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	// The guard and the starter outlive ctx, for as long as there are plugins.
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if ps.guard != nil {
		err := ps.guard.start(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("plugin processes: %w", err)
		}
		helpers.Go(func() { ps.guard.serve(alive) })
	} else {
		ps.log.Warn("no guard: what plugins start themselves may outlive a node that is killed")
	}
	ps.starter = newStarter()
	helpers.Go(func() { ps.starter.serve(alive) })

	ticker := time.NewTicker(ps.opts.Rescan)
	defer ticker.Stop()
	for ctx.Err() == nil {
		ps.reconcile()
		select {
		case <-ctx.Done():
		case <-ps.poked:
		case <-ticker.C:
		}
	}
	ps.stopAll()
	return nil
}

// reconcile starts, stops and replaces processes until they are as they should.
func (ps *Processes) reconcile() {
	found, problems := executables(filepath.Join(ps.opts.WorkDir, "plugins"))
	ps.mu.Lock()
	defer ps.mu.Unlock()
	want := make(map[string]Spec)
	for _, s := range ps.specs {
		want[s.Name] = s
	}
	for _, s := range found {
		if ps.opts.Only != nil && !ps.opts.Only(s.Name) {
			continue
		}
		if _, ok := want[s.Name]; ok {
			problems[s.Argv[0]] = "the configuration has a bundled plugin of the same name, which is started; rename one"
			continue
		}
		want[s.Name] = s
	}
	for _, path := range slices.Sorted(maps.Keys(problems)) {
		if ps.problems[path] != problems[path] {
			ps.log.Warn("plugin is not started", "path", path, "reason", problems[path])
		}
	}
	ps.problems = problems

	for name, p := range ps.running {
		if _, ok := want[name]; !ok {
			p.cancel()
			if p.hasEnded() {
				delete(ps.running, name)
				ps.changes.notify()
			}
		}
	}
	for name, spec := range want {
		spec.Singleton = spec.Singleton || slices.Contains(ps.single, name)
		old := ps.running[name]
		if old != nil && old.ctx.Err() == nil && old.spec.equal(spec) {
			continue
		}
		if old != nil {
			if old.ctx.Err() == nil {
				ps.log.Info("plugin has changed, starting it again", "plugin", name)
			}
			old.cancel()
		}
		ps.running[name] = ps.launch(spec, old)
	}
}

// stopAll stops all plugins at the same time and waits for them.
func (ps *Processes) stopAll() {
	ps.mu.Lock()
	all := slices.Collect(maps.Values(ps.running))
	ps.mu.Unlock()
	for _, p := range all {
		p.cancel()
	}
	for _, p := range all {
		<-p.done
	}
	ps.mu.Lock()
	clear(ps.running)
	ps.mu.Unlock()
	ps.changes.notify()
}

// Changes gives a channel that is closed at the next change of a Snapshot. Take
// it before Snapshot to miss none.
func (ps *Processes) Changes() <-chan struct{} { return ps.changes.wait() }

// Snapshot is every process that should run or is being stopped, by name.
func (ps *Processes) Snapshot() []ProcessStatus {
	ps.mu.Lock()
	all := slices.Collect(maps.Values(ps.running))
	ps.mu.Unlock()
	list := make([]ProcessStatus, len(all))
	for i, p := range all {
		list[i] = p.status()
	}
	slices.SortFunc(list, func(a, b ProcessStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}
