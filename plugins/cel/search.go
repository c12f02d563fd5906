package cel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel/history"
	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
)

// search is one compiled history search of a rule.
type search struct {
	index  config.IndexPattern
	within time.Duration // 0: all that is kept
	count  int
	with   []criterion
	or     []search
}

// criterion is one line under with.
type criterion struct {
	path        string
	match       bool
	not         bool
	value       string
	placeholder string // the event's path that gives the value; "" for value
}

func newSearch(r *pb.SearchRequest, budget *int) (search, error) {
	if *budget--; *budget < 0 {
		return search{}, fmt.Errorf("more than %d searches", config.MaxSearches)
	}
	s := search{count: int(min(r.Count, 1<<31))}
	var err error
	if s.index, err = config.ParseIndexPattern(r.IndexPattern); err != nil {
		return s, err
	}
	if s.within, err = config.ParseWithin(r.Within); err != nil {
		return s, err
	}
	if len(r.With) == 0 && len(r.Or) == 0 {
		return s, errors.New("a search needs with, or or")
	}
	for i, e := range r.With {
		c, err := newCriterion(e)
		if err != nil {
			return s, fmt.Errorf("with[%d]: %w", i, err)
		}
		s.with = append(s.with, c)
	}
	for i, alternative := range r.Or {
		sub, err := newSearch(alternative, budget)
		if err != nil {
			return s, fmt.Errorf("or[%d]: %w", i, err)
		}
		s.or = append(s.or, sub)
	}
	return s, nil
}

func newCriterion(e *pb.Expression) (criterion, error) {
	c := criterion{path: strings.TrimSuffix(e.Field, ".keyword")}
	if c.path == "" {
		return c, errors.New("field is empty")
	}
	switch e.Operator {
	case "filter_term":
	case "must_not_term":
		c.not = true
	case "filter_match":
		c.match = true
	case "must_not_match":
		c.match, c.not = true, true
	default:
		return c, fmt.Errorf("operator is %q, want filter_term, must_not_term, filter_match or must_not_match", e.Operator)
	}
	v := e.Value.AsInterface()
	switch v.(type) {
	case string, float64, bool:
		c.value = fields.Text(v)
	default:
		return c, errors.New("value must be a text, a number, true or false")
	}
	c.placeholder, _ = config.ParsePlaceholder(c.value)
	return c, nil
}

// run searches on behalf of an event. An error that is historyFailed is the
// store's; others are the rule's.
func (s *search) run(ctx context.Context, p *past) (hits []*pb.Event, ok bool, err error) {
	q, err := p.query(s)
	if err != nil {
		return nil, false, err
	}
	r, err := p.find(ctx, s, q)
	if err != nil {
		return nil, false, &historyFailed{err}
	}
	if r.Total >= s.count {
		return r.Events, true, nil
	}
	for i := range s.or {
		more, found, err := s.or[i].run(ctx, p)
		if err != nil {
			return nil, false, err
		}
		if found {
			return more, true, nil
		}
	}
	return nil, false, nil
}

// query is a search with the values of the event; an error is that it lacks one.
func (p *past) query(s *search) (history.Query, error) {
	q := history.Query{Index: s.index, Before: p.place, Limit: p.limit, Want: s.count}
	if s.within > 0 {
		q.Since = p.end.Add(-s.within)
	}
	for _, c := range s.with {
		w := history.Criterion{Path: c.path, Match: c.match, Not: c.not, Text: c.value}
		if c.placeholder != "" {
			v := fields.Get(p.event, c.placeholder)
			if v == nil {
				return q, fmt.Errorf("{{.%s}}: the event has no such value", c.placeholder)
			}
			w.Text = fields.Text(v)
		}
		q.With = append(q.With, w)
	}
	return q, nil
}

// historyFailed is an error of the store, which has nothing to do with the rule:
// the event has to come again.
type historyFailed struct{ cause error }

func (e *historyFailed) Error() string { return e.cause.Error() }

func (e *historyFailed) Unwrap() error { return e.cause }

// paths adds the paths that a search asks for: those whose values are compared
// whole, and those in which it looks for words.
func (s *search) paths(terms, words map[string]bool) {
	for _, c := range s.with {
		if c.match {
			words[c.path] = true
		} else {
			terms[c.path] = true
		}
	}
	for i := range s.or {
		s.or[i].paths(terms, words)
	}
}

// covers reports whether a search looks at events of a data type.
func (s *search) covers(dataType string) bool {
	if s.index.Covers(dataType) {
		return true
	}
	for i := range s.or {
		if s.or[i].covers(dataType) {
			return true
		}
	}
	return false
}
