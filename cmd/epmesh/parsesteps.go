package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/offline"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

// settle notes what became of the log, and gives it as JSON.
func (e *explanation) settle(result pipeline.Result, failed error, log *pb.Log) (json.RawMessage, error) {
	var err error
	switch {
	case failed != nil:
		e.Outcome, e.Reason = "dead", failed.Error()
	case result.Dropped:
		e.Outcome = "dropped"
	default:
		e.Outcome, e.Vanished = "event", result.UnknownFields
		if e.Event, err = offline.EventJSON(result.Event); err != nil {
			return nil, err
		}
	}
	return wire.JSON(log)
}

// steps puts the traces below their pipelines.
func (e *explanation) steps(r *offline.Runner, traces []pipeline.Trace) {
	set := r.Config()
	for _, p := range set.Pipelines {
		for _, t := range p.DataTypes {
			if !slices.Contains(e.known, t) {
				e.known = append(e.known, t)
			}
		}
	}
	last := -1
	e.Pipelines = []explainedPipe{}
	for _, t := range traces {
		if t.Pipeline != last {
			last = t.Pipeline
			p := set.Pipelines[t.Pipeline]
			e.Pipelines = append(e.Pipelines, explainedPipe{Position: place(p.Position), DataTypes: p.DataTypes})
		}
		p := &e.Pipelines[len(e.Pipelines)-1]
		s := explainStep(t)
		s.parts = len(set.Pipelines[t.Pipeline].Steps[t.Step].Proto.GetGrok().GetPatterns())
		p.Steps = append(p.Steps, s)
		if t.Outcome == pipeline.StepSkipped {
			p.Skipped++
		}
		e.Microseconds += s.Microseconds
	}
}

func explainStep(t pipeline.Trace) explainedStep {
	s := explainedStep{
		Step: t.Step + 1, Position: place(t.Position), Kind: t.Kind, Where: t.Where, Outcome: string(t.Outcome), Decided: t.Decided,
		Errors: t.Errors, Microseconds: float64(t.Time.Nanoseconds()) / 1e3, time: t.Time,
	}
	for _, c := range t.Changes {
		s.Changes = append(s.Changes, explainedChange{Field: c.Path, Old: json.RawMessage(c.Old), New: json.RawMessage(c.New)})
	}
	if u := t.Unmatched; u != nil {
		s.Unmatched = &explainedMismatch{Source: u.Source, Missing: u.Missing}
		if !u.Missing {
			s.Unmatched.Pattern, s.Unmatched.Field, s.Unmatched.Text, s.Unmatched.Rest = u.Part+1, u.Field, u.Pattern, u.Rest
		}
	}
	return s
}

// place is a position by the name of its file, as errors on events have it.
func place(p config.Position) string {
	p.File = filepath.Base(p.File)
	return p.String()
}

// quiet reports whether a step was skipped with nothing to tell about it.
func (s explainedStep) quiet() bool {
	return s.Outcome == string(pipeline.StepSkipped) && len(s.Errors) == 0
}

func (e *explanation) leaveOutSkipped() {
	for i := range e.Pipelines {
		p := &e.Pipelines[i]
		p.Steps = slices.DeleteFunc(p.Steps, explainedStep.quiet)
	}
}

// explainText is an explanation for people.
func explainText(e explanation, width int, all bool) string {
	t := explainer{width: width}
	t.line("%s  %s", e.dataType, e.raw)
	switch {
	case len(e.Pipelines) > 0 || e.Outcome == "dead":
	case len(e.known) == 0:
		t.line("no pipeline lists data type %s; there is none", e.dataType)
	default:
		t.line("no pipeline lists data type %s; there are %s", e.dataType, strings.Join(e.known, ", "))
	}
	for _, p := range e.Pipelines {
		t.line("")
		t.line("pipeline %s (%s)", p.Position, strings.Join(p.DataTypes, ", "))
		t.pipeline(p, all)
	}
	t.line("")
	total := duration(time.Duration(e.Microseconds * 1e3))
	switch e.Outcome {
	case "dead":
		t.line("no event: %s", e.Reason)
	case "dropped":
		t.line("dropped")
	default:
		t.line("event")
		t.event(e.Event)
		if len(e.Vanished) > 0 {
			t.line("vanished, since events have no place for them: %s", strings.Join(e.Vanished, ", "))
		}
	}
	t.line("all steps took %s", total)
	return t.String()
}

// explainer writes lines that fit.
type explainer struct {
	strings.Builder
	width int
}

func (t *explainer) line(format string, args ...any) {
	t.WriteString(fit(fmt.Sprintf(format, args...), t.width) + "\n")
}

func (t *explainer) pipeline(p explainedPipe, all bool) {
	var at, kind int
	for _, s := range p.Steps {
		if all || !s.quiet() {
			at, kind = max(at, len(s.Position)), max(kind, len(s.Kind))
		}
	}
	skipped, took := 0, time.Duration(0)
	tell := func() {
		if skipped > 0 {
			t.line("  %s skipped: where is false  %s", count(skipped, "step"), duration(took))
		}
		skipped, took = 0, 0
	}
	for _, s := range p.Steps {
		if s.quiet() && !all {
			skipped++
			took += s.time
			continue
		}
		tell()
		t.line("  %-*s  %-*s  %s  %s", at, s.Position, kind, s.Kind, s.verdict(), duration(s.time))
		t.details(s)
	}
	tell()
}

// verdict is a step's outcome in words.
func (s explainedStep) verdict() string {
	switch {
	case s.Unmatched != nil && s.Unmatched.Missing:
		return "no source"
	case s.Unmatched != nil:
		return "no match"
	case s.Outcome == string(pipeline.StepRan) && len(s.Errors) > 0:
		return "error"
	case s.Outcome == string(pipeline.StepRan) && len(s.Changes) == 0:
		return "no change"
	}
	return s.Outcome
}

func (t *explainer) details(s explainedStep) {
	const indent = "      "
	if s.Where != "" && s.Outcome == string(pipeline.StepSkipped) {
		if s.Decided != "" {
			t.line(indent+"false: %s", s.Decided)
		} else if len(s.Errors) == 0 {
			t.line(indent+"false: %s", s.Where)
		}
	}
	if u := s.Unmatched; u != nil && u.Missing {
		t.line(indent+"there is no %s", u.Source)
	} else if u != nil {
		name := u.Field
		if name == "" {
			name = "no field"
		}
		t.line(indent+"pattern %d of %d (%s): %s", u.Pattern, s.parts, name, u.Text)
		if u.Rest == "" {
			t.line(indent + "finds nothing left of the text")
		} else {
			t.line(indent+"does not match the start of: %s", u.Rest)
		}
	}
	field := 0
	for _, c := range s.Changes {
		field = max(field, min(len(c.Field), 40))
	}
	for _, c := range s.Changes {
		switch {
		case len(c.Old) == 0:
			t.line(indent+"+ %-*s  %s", field, c.Field, c.New)
		case len(c.New) == 0:
			t.line(indent+"- %-*s  %s", field, c.Field, c.Old)
		default:
			t.line(indent+"~ %-*s  %s -> %s", field, c.Field, c.Old, c.New)
		}
	}
	for _, text := range s.Errors {
		t.line(indent+"error: %s", strings.TrimPrefix(text, fmt.Sprintf("%s: step %d %s: ", s.Position, s.Step, s.Kind)))
	}
}

// event shows an event with a field a line.
func (t *explainer) event(text json.RawMessage) {
	var indented bytes.Buffer
	if json.Indent(&indented, text, "  ", "  ") != nil {
		indented.Write(text)
	}
	for line := range strings.Lines("  " + indented.String()) {
		t.line("%s", strings.TrimRight(line, "\n"))
	}
}

// duration is a time with as many digits as one reads.
func duration(d time.Duration) string {
	switch {
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= 10*time.Microsecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}
