package cases

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// Options say how cases are run. The zero value is the default.
type Options struct {
	// Only tells which cases are run, by name; nil runs all.
	Only func(name string) bool
	// Timeout is what one case may take; default 30 s.
	Timeout time.Duration
	// Workers is how many cases run at once; default one a processor.
	Workers int
	// Coverage asks which steps the cases make run.
	Coverage bool
	// Dynamic calls the plugins that a case does not answer for. Without it
	// their steps leave the draft as it is.
	Dynamic pipeline.Dynamic
	// Rules runs the rules of cases that want alerts; without it they cannot be
	// run.
	Rules Rules
}

// File is what became of the cases of one file.
type File struct {
	Path string
	// Problems are why the file's cases were not run: mistakes in it, or in
	// the pipeline files that it tests.
	Problems config.Report
	Results  []Result // of the cases that were run, in the order of the file
	Notes    []Note
	// Time is what the cases took together.
	Time time.Duration

	source *config.CaseFile
	set    *loaded
	rules  *ruleSet // nil where no case wants alerts
}

// Failed is how many cases did not pass.
func (f *File) Failed() int {
	n := 0
	for i := range f.Results {
		if !f.Results[i].Passed() {
			n++
		}
	}
	return n
}

// Result is what became of one case.
type Result struct {
	Case        *config.Case
	Differences []Difference
	// Vanished are fields of the draft that events have no place for.
	Vanished []string
	Time     time.Duration

	index int // in the file
	came  outcome
}

// Passed reports whether all came as wanted.
func (r *Result) Passed() bool { return len(r.Differences) == 0 }

// Note is what the author of a file should know beside the results.
type Note struct {
	Position config.Position
	Text     string
}

// Run runs the cases of files, side by side; results come in the order of the
// files and of their cases. Coverage is nil unless asked for. The error is the
// context's.
func Run(ctx context.Context, paths []string, o Options) ([]File, *Coverage, error) {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	r := &runner{options: o, sets: sets{byKey: map[string]*loaded{}}, rules: ruleSets{byKey: map[string]*ruleSet{}}}
	files := make([]File, len(paths))
	r.each(ctx, len(paths), func(i int) { files[i] = r.load(paths[i]) })
	var jobs []*Result
	var of []*File
	for i := range files {
		f := &files[i]
		for j := range f.Results {
			jobs, of = append(jobs, &f.Results[j]), append(of, f)
		}
	}
	r.each(ctx, len(jobs), func(i int) { r.run(ctx, of[i], jobs[i]) })
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for i := range files {
		files[i].finish()
	}
	var coverage *Coverage
	if o.Coverage {
		coverage = cover(files)
	}
	return files, coverage, nil
}

type runner struct {
	options Options
	sets    sets
	rules   ruleSets
}

// each calls do for every index, as many at once as there are workers, until
// ctx ends.
func (r *runner) each(ctx context.Context, n int, do func(int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, r.options.Workers) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	workers.Wait()
}

// load reads a case file and the pipelines that it tests.
func (r *runner) load(path string) File {
	source, report := config.LoadCases(path)
	f := File{Path: path, source: source, Problems: report}
	if report.Err() != nil {
		return f
	}
	f.set, f.Problems = r.sets.of(source)
	if f.set == nil {
		return f
	}
	if f.rules, report = r.rules.of(r.options.Rules, source, f.set, f.set.key); report != nil {
		f.set, f.Problems = nil, report
		return f
	}
	for i := range source.Cases {
		if c := &source.Cases[i]; r.options.Only == nil || r.options.Only(c.Name) {
			f.Results = append(f.Results, Result{Case: c, index: i})
		}
	}
	return f
}

// run runs one case and compares.
func (r *runner) run(ctx context.Context, f *File, result *Result) {
	start := time.Now()
	result.came = r.outcome(ctx, f, result.Case)
	result.Time = time.Since(start)
	result.Differences = compare(&result.Case.Want, &result.came)
	result.Vanished = result.came.vanished
}

// outcome runs one case until its time is over.
func (r *runner) outcome(ctx context.Context, f *File, c *config.Case) outcome {
	set := f.set
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	done := make(chan outcome, 1)
	// A step cannot be made to stop: one that goes on is left behind.
	go func() {
		p := plugins{stubs: c.Plugins, real: r.options.Dynamic}
		if c.Events != nil {
			o := r.sequence(ctx, f, c, p.call)
			o.unanswered = p.unanswered
			done <- o.with(f.rules)
			return
		}
		var result pipeline.Result
		var traces []pipeline.Trace
		var err error
		if r.options.Coverage {
			result, traces, err = set.pipelines.Explain(ctx, c.Log, p.call)
			set.uses.add(traces)
		} else {
			result, err = set.pipelines.Run(ctx, c.Log, p.call)
		}
		o := newOutcome(result, err, c.Log, set.config)
		o.unanswered = p.unanswered
		if c.Want.Alerts != nil && o.event != nil {
			e := &pb.Event{}
			if err := proto.Unmarshal(result.Event, e); err == nil {
				o.ran = true
				o.analyzed(f.rules.begin(), e, 1)
			}
		}
		if o.dropped && !c.Want.Dropped {
			if traces == nil {
				_, traces, _ = set.pipelines.Explain(ctx, c.Log, p.call)
			}
			if len(traces) > 0 {
				o.dropper = traces[len(traces)-1].Position.String()
			}
		}
		done <- o.with(f.rules)
	}()
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
		return outcome{late: r.options.Timeout.String()}
	}
}
