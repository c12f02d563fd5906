package pipeline

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

// Outcome is what became of a step.
type Outcome string

// The outcomes of a step.
const (
	StepRan     Outcome = "ran"
	StepSkipped Outcome = "skipped" // its condition did not hold, or failed
	StepBroken  Outcome = "broken"  // it has a mistake and cannot be run
	StepDropped Outcome = "dropped" // it discarded the log; it is the last
	StepStopped Outcome = "stopped" // its plugin's error ended the run; it is the last
)

// Trace is what one step did with a draft.
type Trace struct {
	Pipeline, Step int // their places in the configuration, from 0
	Position       config.Position
	Kind           string
	Where          string // its condition; "" for none
	Outcome        Outcome
	// Decided is the part of Where that did not hold, where it has several.
	Decided string
	// Errors are what the step added to the event's errors.
	Errors    []string
	Changes   []Change
	Unmatched *Unmatched // of a grok that did not match
	// Time is what the condition and the step took together.
	Time time.Duration
}

// Unmatched says where a grok failed.
type Unmatched struct {
	// Missing: there is no text, since the field Source is not there.
	Source  string
	Missing bool
	// Part is the place of the pattern that failed, from 0, with its name and
	// text, and Rest the text that it stood before.
	Part           int
	Field, Pattern string
	Rest           string
}

// Explain does what Run does, slower, and tells what each step did, in the order
// in which the steps come; beside an error, up to there.
func (s *Set) Explain(ctx context.Context, log *pb.Log, dyn Dynamic) (Result, []Trace, error) {
	d := s.drafts.Get().(*draft)
	defer s.put(d)
	if err := s.begin(d, log); err != nil {
		return Result{}, nil, err
	}
	e := explainer{run: run{set: s, d: d, ctx: ctx, dyn: dyn}}
	for _, i := range s.byType[log.GetDataType()] {
		for j, st := range s.pipelines[i].steps {
			before, err := e.step(st, i, j)
			e.traces = append(e.traces, e.trace)
			switch {
			case err != nil:
				return Result{Suspended: before}, e.traces, err
			case e.trace.Outcome == StepDropped:
				return Result{Dropped: true}, e.traces, nil
			}
		}
	}
	result, err := e.finish()
	return result, e.traces, err
}

// explainer is a run that takes notes.
type explainer struct {
	run
	trace  Trace // of the step at hand
	traces []Trace
	image  image
}

// step does a step. Its results are those of call.
func (e *explainer) step(st *step, pipeline, index int) (before *pb.Draft, err error) {
	configured := e.set.config.Pipelines[pipeline].Steps[index]
	t := Trace{Pipeline: pipeline, Step: index, Position: configured.Position, Kind: configured.Kind}
	if st.where != nil {
		t.Where = st.where.String()
	}
	kept, failures := len(e.d.errors), e.d.failures()
	e.image.take(e.d.Tree)
	start := time.Now()
	switch {
	case !e.holds(st):
		t.Outcome = StepSkipped
		if st.broken != nil && e.d.failures() > failures {
			t.Outcome = StepBroken
		}
	case st.drop:
		t.Outcome = StepDropped
	case st.dynamic != nil:
		t.Outcome = StepRan
		if before, err = e.call(st, pipeline, index); err != nil {
			t.Outcome = StepStopped
		}
	default:
		t.Outcome = StepRan
		if err := st.action.apply(e.d); err != nil {
			e.d.fail(st, err)
		}
	}
	t.Time = time.Since(start)
	t.Errors = append(t.Errors, e.d.errors[kept:]...)
	switch t.Outcome {
	case StepSkipped:
		t.Decided = e.decided(st)
	case StepRan:
		t.Changes = e.image.changes(e.d.Tree)
		if g, ok := st.action.(*grok); ok && len(t.Changes) == 0 && e.d.failures() == failures {
			t.Unmatched = g.unmatched(e.d, configured.Proto.GetGrok())
		}
	}
	e.trace = t
	return before, err
}

// decided is the first part of a step's condition that does not hold.
func (e *explainer) decided(st *step) string {
	if st.where == nil {
		return ""
	}
	parts, ok := e.set.parts.Load(st)
	if !ok {
		parts, _ = e.set.parts.LoadOrStore(st, st.where.Conjuncts())
	}
	for _, part := range parts.([]*expr.Program) {
		if holds, err := part.Eval(e.d); !holds && err == nil {
			return part.String()
		}
	}
	return ""
}

// unmatched says where a grok that changed nothing failed; nil if it did not, or
// if that takes too long the second time.
func (s *grok) unmatched(d *draft, p *pb.Grok) *Unmatched {
	var slow error
	defer pattern.Recover(&slow)
	rest, n := s.cut(d)
	switch {
	case n < 0:
		return &Unmatched{Source: s.source.String(), Missing: true}
	case n == len(s.parts):
		return nil // it matched, and all was as it is
	}
	part := p.GetPatterns()[n]
	return &Unmatched{Source: s.source.String(), Part: n, Field: part.GetFieldName(), Pattern: part.GetPattern(), Rest: rest}
}
