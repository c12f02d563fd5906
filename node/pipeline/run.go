package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/epmesh/epmesh/node/patience"
	pb "github.com/epmesh/epmesh/proto"
)

// Dynamic calls the parsing plugin that the transform's step names and gives
// the draft it answered. It must not change the transform's step, which all
// runs share. An error made by Halt stops the run; any other error is noted on
// the event and the run goes on with the old draft.
type Dynamic func(ctx context.Context, t *pb.Transform) (*pb.Draft, error)

// Halt makes an error that stops a run: the plugin is not to be had now or
// here, and the draft is to be tried again or handed to another node.
func Halt(err error) error { return &halt{err} }

type halt struct{ err error }

func (h *halt) Error() string { return h.err.Error() }
func (h *halt) Unwrap() error { return h.err }

// Result is what became of a log.
type Result struct {
	// Event is the event in wire form; nil if the log was dropped, or with an
	// error.
	Event []byte
	// Dropped tells that a drop step discarded the log.
	Dropped bool
	// Errors is how many errors there were, also those that an event with very
	// many only counts.
	Errors int
	// Unknown is how many fields of the draft the Event has no place for: they
	// vanished. UnknownFields are their paths, with Options.ListUnknown.
	Unknown       int
	UnknownFields []string
	// Suspended is, beside an error that stopped the run in a dynamic step,
	// the draft as it stood before that step, for Resume.
	Suspended *pb.Draft
}

// ErrDraft is wrapped by the errors of logs and drafts that can never become
// events, however often they are tried.
var ErrDraft = errors.New("draft cannot become an event")

// Run makes an event of a log: every pipeline that lists its data type runs, in
// configuration order. The error is one that Dynamic made by Halt, as it is;
// the context's; or one that wraps ErrDraft. The log is not changed; the event
// keeps no part of it.
func (s *Set) Run(ctx context.Context, log *pb.Log, dyn Dynamic) (Result, error) {
	d := s.drafts.Get().(*draft)
	defer s.put(d)
	if err := s.begin(d, log); err != nil {
		return Result{}, err
	}
	r := run{set: s, d: d, ctx: ctx, dyn: dyn}
	return r.from(s.byType[log.GetDataType()], 0)
}

// begin makes a draft of a log.
func (s *Set) begin(d *draft, log *pb.Log) error {
	if limit := s.options.Limits.Bytes; len(log.GetRaw()) > limit {
		return fmt.Errorf("%w: raw is longer than %d bytes", ErrDraft, limit)
	}
	d.fill(log)
	return nil
}

// Resume goes on with a draft that another run suspended: with step draft.step
// of pipeline draft.pipeline of a set with the same Fingerprint, and then with
// the later pipelines that list dataType: the log's, which steps may have
// changed in the draft. Errors are as in Run.
func (s *Set) Resume(ctx context.Context, dataType string, suspended *pb.Draft, dyn Dynamic) (Result, error) {
	at, step := int(suspended.GetPipeline()), int(suspended.GetStep())
	if at >= len(s.pipelines) || step > len(s.pipelines[at].steps) {
		return Result{}, fmt.Errorf("%w: there is no step %d in pipeline %d", ErrDraft, step, at)
	}
	d := s.drafts.Get().(*draft)
	defer s.put(d)
	if err := d.Parse(suspended.GetLog()); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	d.errors = slices.Clone(suspended.GetErrors())
	d.unknown = slices.Clone(suspended.ProtoReflect().GetUnknown())
	order := []int{at}
	for _, i := range s.byType[dataType] {
		if i > at {
			order = append(order, i)
		}
	}
	r := run{set: s, d: d, ctx: ctx, dyn: dyn}
	return r.from(order, step)
}

func (s *Set) put(d *draft) {
	d.reset()
	s.drafts.Put(d)
}

// run is one draft on its way.
type run struct {
	set   *Set
	d     *draft
	ctx   context.Context
	dyn   Dynamic
	clock patience.Clock // without what plugins take
	seen  int            // steps
}

// maxStep is what one step counts for at most in the time of its log: it is not
// to blame for the time in which the process was stopped.
const maxStep = 3 * time.Second

// late reports whether the run takes too long, and notes the first step that it
// did not come to. The clock is asked behind steps that did something, and now
// and then between.
func (r *run) late(st *step, ran bool) bool {
	if r.seen++; !ran && r.seen&31 != 0 || r.clock.Spent(maxStep) < r.set.options.MaxTime {
		return false
	}
	r.d.fail(st, fmt.Errorf("not run, like all after it: the log takes longer than %v", r.set.options.MaxTime))
	return true
}

// from runs pipelines in order, the first from a given step.
func (r *run) from(order []int, first int) (Result, error) {
	r.clock = patience.Start()
	ran := false
	for _, i := range order {
		l := &r.set.pipelines[i]
		w := r.d.begin(l.dispatch)
		for j := w.next(first); j < len(l.steps); j = w.next(j + 1) {
			st := l.steps[j]
			if r.late(st, ran) {
				return r.finish()
			}
			if ran = r.holds(st); !ran {
				continue
			}
			switch {
			case st.drop:
				return Result{Dropped: true}, nil
			case st.dynamic != nil:
				if before, err := r.call(st, i, j); err != nil {
					return Result{Suspended: before}, err
				}
			default:
				if err := st.action.apply(r.d); err != nil {
					r.d.fail(st, err)
				}
			}
		}
		first = 0
	}
	return r.finish()
}

// holds reports whether a step is to be run, and notes why it cannot be.
func (r *run) holds(st *step) bool {
	if st.where != nil {
		ok, err := st.where.Eval(r.d)
		if err != nil {
			r.d.fail(st, fmt.Errorf("where: %w", err))
		}
		if !ok || err != nil {
			return false
		}
	}
	if st.broken != nil {
		r.d.fail(st, st.broken)
		return false
	}
	return true
}

// call hands the draft to a plugin and takes its answer. With an error that
// stops the run it gives the draft as it was before.
func (r *run) call(st *step, pipeline, index int) (*pb.Draft, error) {
	name := st.dynamic.GetDynamic().GetPlugin()
	if r.dyn == nil {
		r.d.fail(st, fmt.Errorf("plugin %s cannot be called here", name))
		return nil, nil
	}
	buf := buffers.Get().(*[]byte)
	*buf = r.d.Root().AppendJSON((*buf)[:0])
	text := string(*buf)
	putBuffer(buf)
	sent := func() *pb.Draft {
		draft := &pb.Draft{Log: text, Pipeline: uint32(pipeline), Step: uint32(index), Errors: slices.Clone(r.d.errors)}
		draft.ProtoReflect().SetUnknown(r.d.unknown)
		return draft
	}
	r.clock.Spent(maxStep)
	answer, err := r.dyn(r.ctx, &pb.Transform{Draft: sent(), Step: st.dynamic})
	r.clock.Skip()
	if err != nil {
		if h := (*halt)(nil); errors.As(err, &h) {
			return sent(), err
		}
		if r.ctx.Err() != nil {
			return sent(), r.ctx.Err()
		}
		r.d.fail(st, fmt.Errorf("plugin %s: %w", name, err))
		return nil, nil
	}
	if err := r.take(answer, text); err != nil {
		r.d.fail(st, fmt.Errorf("plugin %s: %w", name, err))
	}
	return nil, nil
}

// take replaces the draft by a plugin's answer. Errors are only ever added: an
// answer that leaves out those that were sent does not lose them.
func (r *run) take(answer *pb.Draft, sent string) error {
	switch {
	case answer.GetLog() == "":
		return errors.New("answered no draft")
	case answer.GetLog() != sent:
		if err := r.d.Parse(answer.GetLog()); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	r.d.unknown = slices.Clone(answer.ProtoReflect().GetUnknown())
	errs, known := answer.GetErrors(), len(r.d.errors)
	if len(errs) >= known && slices.Equal(errs[:known], r.d.errors) {
		errs = errs[known:]
	}
	for _, text := range errs {
		r.d.note(text)
	}
	return nil
}
