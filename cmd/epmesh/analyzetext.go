package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/epmesh/epmesh/node/wire"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/epmesh/epmesh/plugins/cel/replay"
	pb "github.com/epmesh/epmesh/proto"
)

// errExplained ends a stream behind the event that was to be explained.
var errExplained = errors.New("explained")

// ruleExplainer keeps the event that is to be explained. Those before it are its
// history.
type ruleExplainer struct {
	cmd    *analyzeCmd
	engine *cel.Engine

	at    int
	event *pb.Event
}

// line takes an event. Without --line it is the last, so each waits for the
// next.
func (x *ruleExplainer) line(number int, e *pb.Event) (bool, error) {
	if x.event != nil {
		x.engine.Analyze(x.event)
	}
	x.at, x.event = number, e
	switch {
	case x.cmd.Line > 0 && number == x.cmd.Line:
		return true, errExplained
	case x.cmd.Line > 0 && number > x.cmd.Line:
		return true, fmt.Errorf("line %d holds no event", x.cmd.Line)
	}
	return true, nil
}

func (x *ruleExplainer) print(a *app) error {
	switch {
	case x.cmd.Line > 0 && (x.event == nil || x.at != x.cmd.Line):
		return fmt.Errorf("the input has no event in line %d", x.cmd.Line)
	case x.event == nil:
		return errors.New("there is no event in the input to explain")
	}
	_, rules := x.engine.Explain(x.event, x.cmd.All)
	if x.cmd.JSON {
		event, err := wire.JSON(x.event)
		if err != nil {
			return err
		}
		out := json.NewEncoder(a.stdout)
		out.SetEscapeHTML(false)
		return out.Encode(struct {
			Line  int               `json:"line"`
			Event json.RawMessage   `json:"event"`
			Rules []cel.Explanation `json:"rules"`
		}{x.at, event, append([]cel.Explanation{}, rules...)})
	}
	_, err := io.WriteString(a.stdout, x.text(rules, width(a.stdout)))
	return err
}

// text is the explanation for people.
func (x *ruleExplainer) text(rules []cel.Explanation, columns int) string {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(fit(fmt.Sprintf(format, args...), columns) + "\n") }
	e := x.event
	say("line %d: %s event %s of %s, from %s: %s", x.at, e.DataType, e.Id, e.Timestamp, cmp.Or(e.DataSource, "?"), eventText(e))
	if len(rules) == 0 {
		say("no rule lists the data type %q", e.DataType)
	}
	for _, r := range rules {
		say("")
		say("%s: %s  (%s)", r.Rule, strings.ToUpper(r.Outcome), r.Position)
		switch {
		case r.Outcome == cel.OtherDataTypes:
			say("  it is for %s", strings.Join(r.DataTypes, ", "))
		case r.Error != "":
			say("  %s", r.Error)
		}
		for _, p := range r.Parts {
			mark := map[bool]string{true: "yes", false: "no "}[p.Holds]
			if p.Error != "" {
				mark = "err"
			}
			say("  %s %s", mark, p.Where)
			for _, v := range p.Values {
				if v.Missing {
					say("        %s is not there", v.Path)
				} else {
					say("        %s is %s", v.Path, v.Value)
				}
			}
		}
		for _, s := range r.Searches {
			searchText(say, s)
		}
		if r.Alert != nil {
			say("  %s", alertText(r.Alert))
		}
	}
	return b.String()
}

func searchText(say func(string, ...any), s cel.ExplainedSearch) {
	mark, what := map[bool]string{true: "yes", false: "no "}[s.Holds], "search"
	if s.Error != "" {
		mark = "err"
	}
	if s.Depth > 0 {
		what = strings.Repeat("  ", s.Depth) + "or"
	}
	window := "of all that is kept"
	if s.Within != "" {
		window = "within " + s.Within
	}
	found := fmt.Sprintf("found %d", s.Found)
	if s.Holds && s.Found > 0 {
		found = fmt.Sprintf("found %d or more", s.Found)
	}
	say("  %s %s %s %s: %s, wanted %d", mark, what, s.Index, window, found, s.Count)
	for _, w := range s.With {
		say("        %s%s", strings.Repeat("  ", s.Depth), w)
	}
	if s.Newest != "" {
		say("        %sthe newest is of %s", strings.Repeat("  ", s.Depth), s.Newest)
	}
}

// tell writes the summary.
func (c *analyzeCmd) tell(w io.Writer, s replay.Summary, rules *cel.Rules) error {
	if c.JSON {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(struct {
			replay.Summary
			Rate float64 `json:"rate"`
		}{s, s.Rate()})
	}
	say := func(format string, args ...any) { fmt.Fprintln(w, printable(fmt.Sprintf(format, args...))) }
	if !c.Summary {
		if s.Bad > 0 {
			say("%s of %d %s no event", count(s.Bad, "line"), s.Lines, map[bool]string{true: "is", false: "are"}[s.Bad == 1])
		}
		if s.Alerts == 0 && s.Events > 0 && len(s.Unlisted) > 0 && sumOf(s.Unlisted) == s.Events {
			say("no rule lists the data type of any event: %s", strings.Join(mostFirst(s.Unlisted)[:min(len(s.Unlisted), 10)], ", "))
		}
		return nil
	}
	say("%s: %s, %d bad; %s; %s, %.0f events/s", count(s.Lines, "line"), count(s.Events, "event"), s.Bad, count(s.Alerts, "alert"),
		time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond), s.Rate())
	if s.First != "" {
		say("events from %s to %s", s.First, s.Last)
	}
	for _, name := range mostFirst(s.Rules) {
		say("%8d  %s", s.Rules[name], name)
	}
	var quiet []string
	for _, name := range rules.Names() {
		if s.Rules[name] == 0 {
			quiet = append(quiet, name)
		}
	}
	if n := len(quiet); n > 0 {
		say("%s made no alert: %s", count(n, "rule"), listed(quiet))
	}
	if n := sumOf(s.Unlisted); n > 0 {
		say("no rule lists the data type of %s: %s", count(n, "event"), listed(mostFirst(s.Unlisted)))
	}
	if s.Unknown > 0 {
		say("%s had keys that an Event does not have", count(s.Unknown, "event"))
	}
	return nil
}

func sumOf(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// listed are the first of some names.
func listed(names []string) string {
	text := strings.Join(names[:min(len(names), 10)], ", ")
	if len(names) > 10 {
		text += ", ..."
	}
	return text
}
