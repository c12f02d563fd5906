package cel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/tree"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protojson"
)

// What became of a rule in an Explanation.
const (
	Fires          = "fires"
	NotMet         = "condition not met"
	HistoryNotMet  = "history not found"
	NotEvaluated   = "could not be evaluated"
	TurnedOff      = "disabled in the configuration"
	OtherDataTypes = "of other data types"
)

// Explanation is what a rule made of an event.
type Explanation struct {
	Rule      string            `json:"rule"`
	Position  string            `json:"position"`
	Outcome   string            `json:"outcome"`
	DataTypes []string          `json:"dataTypes,omitempty"` // of a rule of others
	Error     string            `json:"error,omitempty"`
	Parts     []ExplainedPart   `json:"parts,omitempty"` // of where
	Searches  []ExplainedSearch `json:"searches,omitempty"`
	// Alert is that of a rule that fires.
	Alert *pb.Alert `json:"-"`
}

// ExplainedPart is one of the parts that && joins in a condition.
type ExplainedPart struct {
	Where  string           `json:"where"`
	Holds  bool             `json:"holds"`
	Error  string           `json:"error,omitempty"`
	Values []ExplainedValue `json:"values,omitempty"`
}

// ExplainedValue is what the event has at a path; Value is "" where it has
// nothing.
type ExplainedValue struct {
	Path    string `json:"path"`
	Missing bool   `json:"missing,omitempty"`
	Value   string `json:"value,omitempty"` // as JSON
}

// ExplainedSearch is a history search, or an alternative to one under or.
type ExplainedSearch struct {
	Index  string   `json:"indexPattern"`
	With   []string `json:"with,omitempty"`
	Within string   `json:"within,omitempty"`
	Count  uint64   `json:"count"`
	Holds  bool     `json:"holds"`
	// Found is how many events fit; where it is Count or more, there may be
	// others.
	Found  int    `json:"found"`
	Error  string `json:"error,omitempty"`
	Depth  int    `json:"depth,omitempty"` // under or
	Newest string `json:"newest,omitempty"`
}

// Explain gives the alerts of an event as Analyze does, and tells of each rule
// what it made of it: of its data type's rules first, then of the others, where
// asked for.
func (g *Engine) Explain(e *pb.Event, others bool) ([]*pb.Alert, []Explanation) {
	alerts := g.Analyze(e)
	set, now := g.set.Load(), g.clock
	doc := expr.FromEvent(e)
	var all []Explanation
	for _, r := range set.all {
		x := Explanation{Rule: r.proto.Name, Position: r.at.String()}
		if !slices.Contains(r.proto.DataTypes, e.DataType) {
			if others {
				x.Outcome, x.DataTypes = OtherDataTypes, r.proto.DataTypes
				all = append(all, x)
			}
			continue
		}
		x.explain(g, r, doc, e, now)
		for _, a := range alerts {
			if a.Id == alertID(r, e) {
				x.Alert = a
			}
		}
		all = append(all, x)
	}
	slices.SortStableFunc(all, func(a, b Explanation) int { return order(a) - order(b) })
	return alerts, all
}

func order(x Explanation) int {
	return slices.Index([]string{Fires, NotEvaluated, HistoryNotMet, NotMet, TurnedOff, OtherDataTypes}, x.Outcome)
}

func (x *Explanation) explain(g *Engine, r *rule, doc expr.Doc, e *pb.Event, now time.Time) {
	set := g.set.Load()
	holds, err := r.fits(doc)
	x.parts(r, doc)
	switch {
	case set.isDisabled(r, e.TenantId):
		x.Outcome = TurnedOff
	case err != nil:
		x.Outcome, x.Error = NotEvaluated, err.Error()
	case !holds:
		x.Outcome = NotMet
	default:
		x.Outcome = Fires
		place := uint64(0)
		if set.keeps(e.DataType) {
			if place, err = g.store.Add(context.Background(), e, now); err != nil { // it has it already
				x.Outcome, x.Error = NotEvaluated, err.Error()
				return
			}
		}
		requests := r.proto.Correlation
		if len(requests) == 0 {
			requests = r.proto.AfterEvents
		}
		for i := range r.searches {
			ok, err := x.search(g, &r.searches[i], requests[i], e, place, windowsEnd(e, now), 0)
			if err != nil {
				x.Outcome, x.Error = NotEvaluated, err.Error()
				return
			}
			if !ok {
				x.Outcome = HistoryNotMet
			}
		}
	}
}

// maxValue bounds a value in an explanation.
const maxValue = 200

// parts says which parts of the condition hold, and what they look at.
func (x *Explanation) parts(r *rule, doc expr.Doc) {
	if r.where == nil {
		return
	}
	parts := r.where.Conjuncts()
	if parts == nil {
		parts = []*expr.Program{r.where}
	}
	for _, p := range parts {
		part := ExplainedPart{Where: strings.Join(strings.Fields(p.String()), " ")}
		var err error
		if part.Holds, err = p.Eval(doc); err != nil {
			part.Error = err.Error()
		}
		for _, path := range p.Reads() {
			value := ExplainedValue{Path: path, Missing: true}
			if v := doc.Lookup(tree.ParsePath(path)); v.Exists() {
				value.Missing, value.Value = false, shown(v)
			}
			part.Values = append(part.Values, value)
		}
		x.Parts = append(x.Parts, part)
	}
}

func shown(v tree.Value) string {
	text := v.String()
	if v.Kind == tree.String {
		text = fmt.Sprintf("%q", v.Text[:min(len(v.Text), maxValue)])
	}
	if len(text) > maxValue {
		text = strings.ToValidUTF8(text[:maxValue], "") + "..."
	}
	return text
}

// search runs a search as the rule does, and notes what was found.
func (x *Explanation) search(g *Engine, s *search, request *pb.SearchRequest, e *pb.Event, place uint64, end time.Time, depth int) (bool, error) {
	alone := *s
	alone.or = nil
	found := &recorder{Store: g.store}
	_, ok, err := alone.run(context.Background(), &past{store: found, event: e, place: place, end: end, limit: 1})
	told := ExplainedSearch{
		Index: request.IndexPattern, Within: request.Within, Count: request.Count, Holds: ok, Found: found.total, Depth: depth, Newest: found.newest,
	}
	for _, w := range request.With {
		told.With = append(told.With, line(w, e))
	}
	if err != nil {
		told.Error = err.Error()
	}
	x.Searches = append(x.Searches, told)
	if ok || err != nil {
		return ok, err
	}
	for i := range s.or {
		if ok, err := x.search(g, &s.or[i], request.Or[i], e, place, end, depth+1); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// line is one criterion as people read it, with its placeholder filled in.
func line(w *pb.Expression, e *pb.Event) string {
	value, err := protojson.Marshal(w.Value)
	text := strings.Trim(string(value), `"`)
	if err != nil {
		text = "?"
	}
	if path, ok := config.ParsePlaceholder(text); ok {
		if v := expr.FromEvent(e).Lookup(tree.ParsePath(strings.TrimSuffix(path, ".keyword"))); v.Exists() {
			text = fmt.Sprintf("%s = %s", text, shown(v))
		} else {
			text += " = nothing"
		}
	}
	return strings.TrimSpace(w.Field + " " + w.Operator + " " + text)
}

// recorder is a store that remembers what its last search found.
type recorder struct {
	history.Store
	total  int
	newest string
}

// Search implements [history.Store].
func (r *recorder) Search(ctx context.Context, q history.Query) (history.Result, error) {
	// For what is found to be shown where it is too little, too.
	q.Limit, q.Want = max(q.Limit, q.Want), 0
	found, err := r.Store.Search(ctx, q)
	if r.total = found.Total; len(found.Events) > 0 {
		r.newest = found.Events[0].Timestamp
	}
	return found, err
}
