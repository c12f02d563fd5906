package cel

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/epmesh/epmesh/config"
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
	kind        kind
	not         bool
	value       string
	placeholder string // the event's path that gives the value; "" for value
}

type kind int

const (
	isTerm kind = iota
	isMatch
)

// test is a criterion with its value.
type test struct {
	path  string
	kind  kind
	not   bool
	text  string
	words []string // of a match
}

// fits tells whether a value, nil for none, passes.
func (t *test) fits(v any) bool {
	is := false
	for text := range texts(v) {
		if is = t.kind == isTerm && text == t.text || t.kind == isMatch && anyWord(text, t.words); is {
			break
		}
	}
	return is != t.not
}

// texts yields the values that a search compares: each of a list's, in one
// form.
func texts(v any) func(func(string) bool) {
	return func(yield func(string) bool) {
		switch x := v.(type) {
		case nil:
		case []any:
			for _, item := range x {
				if !yield(fields.Text(item)) {
					return
				}
			}
		default:
			yield(fields.Text(v))
		}
	}
}

// anyWord reports whether a text holds one of the words, which are in lower
// case: a match search is one for words, as in a search engine.
func anyWord(text string, words []string) bool {
	for _, w := range wordsOf(text) {
		for _, want := range words {
			if w == want {
				return true
			}
		}
	}
	return false
}

func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
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
		c.kind = isMatch
	case "must_not_match":
		c.kind, c.not = isMatch, true
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

// run searches on behalf of an event that has this place in the store.
func (s *search) run(st store, e *pb.Event, place uint64, now time.Time, limit int) (hits []*pb.Event, ok bool, err error) {
	q := query{index: s.index}
	if s.within > 0 {
		q.since = now.Add(-s.within)
	}
	for _, c := range s.with {
		t := test{path: c.path, kind: c.kind, not: c.not, text: c.value}
		if c.placeholder != "" {
			v := fields.Get(e, c.placeholder)
			if v == nil {
				return nil, false, fmt.Errorf("{{.%s}}: the event has no such value", c.placeholder)
			}
			t.text = fields.Text(v)
		}
		if t.kind == isMatch {
			t.words = wordsOf(t.text)
		}
		q.with = append(q.with, t)
	}
	hits, total := st.search(q, place, limit, s.count)
	if total >= s.count {
		return hits, true, nil
	}
	for i := range s.or {
		more, found, err := s.or[i].run(st, e, place, now, limit)
		if err != nil {
			return nil, false, err
		}
		if found {
			return more, true, nil
		}
	}
	return nil, false, nil
}

// paths adds the paths that a search asks for.
func (s *search) paths(terms, others map[string]bool) {
	for _, c := range s.with {
		if c.kind == isTerm && !c.not {
			terms[c.path] = true
		} else {
			others[c.path] = true
		}
	}
	for i := range s.or {
		s.or[i].paths(terms, others)
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
