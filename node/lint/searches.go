package lint

import (
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// searches checks the history searches of a rule.
func (l *linter) searches(r config.Rule, where *expr.Analysis) {
	key, requests := "correlation", r.Proto.GetCorrelation()
	if len(requests) == 0 {
		key, requests = "afterEvents", r.Proto.GetAfterEvents()
	}
	s := searcher{linter: l, where: where, budget: config.MaxSearches, told: map[string]bool{}}
	for i, request := range requests {
		s.request(request, r.At(key, strconv.Itoa(i)))
	}
	if s.budget < 0 {
		l.find(badSearch, r.At(key).Position, "", "the rule has more than %d searches", config.MaxSearches)
	}
}

// searcher goes through the searches of one rule.
type searcher struct {
	*linter
	where  *expr.Analysis
	budget int
	told   map[string]bool // values that may be missing, each once
}

func (s *searcher) request(r *pb.SearchRequest, at config.Place) {
	if s.budget--; s.budget < 0 {
		return
	}
	index, err := config.ParseIndexPattern(r.GetIndexPattern())
	if err != nil {
		s.find(badSearch, at.At("indexPattern").Position, "", "%v", err)
	} else {
		s.covers(index, r.GetIndexPattern(), at.At("indexPattern").Position)
	}
	if _, err := config.ParseWithin(r.GetWithin()); err != nil {
		s.find(badSearch, at.At("within").Position, "", "%v", err)
	}
	if len(r.GetWith()) == 0 && len(r.GetOr()) == 0 {
		s.find(badSearch, at.Position, "write with: [{field: ..., operator: ..., value: ...}]", "a search needs with, or or")
	}
	if r.GetCount() == 0 {
		s.find(expr.AlwaysTrue, at.At("count").Position, "write count: 1, or more", "a search without count always holds")
	}
	for i, e := range r.GetWith() {
		s.line(e, at.At("with", strconv.Itoa(i)))
	}
	for i, alternative := range r.GetOr() {
		s.request(alternative, at.At("or", strconv.Itoa(i)))
	}
}

// covers checks that the index is one of a data type that is known.
func (s *searcher) covers(index config.IndexPattern, text string, at config.Position) {
	if len(s.lines) == 0 {
		return
	}
	for _, known := range s.dataTypes() {
		if index.Covers(known) {
			return
		}
	}
	for _, r := range s.rules {
		for _, known := range r.Proto.GetDataTypes() {
			if index.Covers(known) {
				return
			}
		}
	}
	name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(text, "v11-log-"), "*"), "-")
	s.dataType(name, at, "indexPattern: no pipeline lists the data type %q")
}

// line checks one line under with.
func (s *searcher) line(e *pb.Expression, at config.Place) {
	if e.GetField() == "" {
		s.find(badSearch, at.Position, "write field: the path of a field", "field is empty")
	} else {
		s.eventField(e.GetField(), at.At("field").Position, "field")
	}
	known := false
	for _, operator := range config.SearchOperators {
		known = known || operator == e.GetOperator()
	}
	if !known {
		near := map[string]string{
			"term": "filter_term", "equals": "filter_term", "is": "filter_term", "eq": "filter_term", "filter": "filter_term",
			"match": "filter_match", "contains": "filter_match", "not": "must_not_term", "must_not": "must_not_term",
		}[strings.ToLower(e.GetOperator())]
		s.find(badSearch, at.At("operator").Position, didYouMean(e.GetOperator(), near, config.SearchOperators), "%q is no operator", e.GetOperator())
	}
	place := at.At("value")
	switch v := e.GetValue().GetKind().(type) {
	case *structpb.Value_StringValue:
		s.value(v.StringValue, place)
	case *structpb.Value_NumberValue, *structpb.Value_BoolValue:
	default:
		s.find(badSearch, place.Position, "", "value must be a text, a number, true or false")
	}
}

// value checks a value that may be taken from the event.
func (s *searcher) value(text string, at config.Place) {
	path, is := config.ParsePlaceholder(text)
	if !is {
		if i := strings.Index(text, "{{"); i >= 0 {
			s.find(config.RuleBadValue, at.Offset(i), "write it as '{{.origin.ip}}' alone", "a value that is not wholly {{.path}} is taken as it stands")
		}
		return
	}
	s.eventField(path, at.Position, "value")
	if is, _ := schema(eventType, strings.TrimSuffix(path, ".keyword")); is == unknownShape || envelope[path] || eventAlways[path] || s.told[path] {
		return
	}
	if s.where == nil || s.where.MayHoldWithout(func(p string) bool { return p == path }) {
		s.told[path] = true
		s.find(unguardedValue, at.Position, `add exists("`+path+`") && to where`, "where may hold for an event without %s; the search then fails, and after five failures the reference engine turns the rule off", path)
	}
}
