package cases

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// alert is an alert that came.
type alert struct {
	name   string
	event  int // which brought it, from 1
	fields map[string]any
}

// analyzed adds the alerts of one event to an outcome.
func (o *outcome) analyzed(analyze func(*pb.Event) []*pb.Alert, e *pb.Event, n int) {
	for _, a := range analyze(e) {
		o.alerts = append(o.alerts, alert{a.GetName(), n, plain(a.ProtoReflect())})
	}
}

// sequence runs the events of a case, in their order.
func (r *runner) sequence(ctx context.Context, f *File, c *config.Case, call pipeline.Dynamic) outcome {
	o := outcome{ran: true}
	analyze := f.rules.begin()
	var at time.Time
	n := 0
	for i := range c.Events {
		for again := range c.Events[i].Times {
			if ctx.Err() != nil {
				o.late = "the time that it has"
				return o
			}
			n++
			at = c.Events[i].At(again, at)
			e, reason := r.event(ctx, f.set, &c.Events[i], n, at, call)
			if reason != "" {
				o.dead = fmt.Sprintf("event %d (%s): %s", n, c.Events[i].Position, reason)
				return o
			}
			if e != nil {
				o.analyzed(analyze, e, n)
			}
		}
	}
	return o
}

// event makes the n-th event of a case; nil where its log is dropped. The text
// says why there is none.
func (r *runner) event(ctx context.Context, set *loaded, given *config.CaseEvent, n int, at time.Time, call pipeline.Dynamic) (*pb.Event, string) {
	stamp := at.UTC().Format(time.RFC3339Nano)
	e := &pb.Event{}
	if given.Event != nil {
		e = proto.CloneOf(given.Event)
		if e.Timestamp = stamp; e.Id == "" || given.Times > 1 {
			e.Id = config.EventID(n)
		}
		if t, ok := set.config.Tenant(e.GetTenantId()); ok && e.TenantName == "" {
			e.TenantName = t.GetName()
		}
		if e.DeviceTime == "" {
			e.DeviceTime = stamp
		}
		return e, ""
	}
	log := proto.CloneOf(given.Log)
	log.Id, log.Timestamp = config.EventID(n), stamp
	var result pipeline.Result
	var err error
	if r.options.Coverage {
		var traces []pipeline.Trace
		result, traces, err = set.pipelines.Explain(ctx, log, call)
		set.uses.add(traces)
	} else {
		result, err = set.pipelines.Run(ctx, log, call)
	}
	if err == nil && result.Dropped {
		return nil, ""
	}
	if err == nil {
		err = proto.Unmarshal(result.Event, e)
	}
	if err != nil {
		return nil, "it became no event: " + err.Error()
	}
	return e, ""
}

// compareAlerts compares the alerts that are wanted with those that came.
func (c *comparison) compareAlerts() {
	if !c.came.ran {
		return
	}
	byRule := map[string][]alert{}
	for _, a := range c.came.alerts {
		byRule[a.name] = append(byRule[a.name], a)
	}
	for i := range c.want.Alerts {
		c.alertsOf(&c.want.Alerts[i], byRule)
	}
	for _, name := range slices.Sorted(maps.Keys(byRule)) {
		c.out = append(c.out, Difference{
			Kind: Alert, Path: name, Position: c.want.At["alerts"], Got: len(byRule[name]),
			Note: "first by event " + strconv.Itoa(byRule[name][0].event),
		})
	}
}

// alertsOf compares those of one rule, and takes them out.
func (c *comparison) alertsOf(want *config.WantedAlert, byRule map[string][]alert) {
	name := want.Rule
	if byID := c.came.ids[name]; byID != "" {
		name = byID
	}
	came := byRule[name]
	delete(byRule, name)
	switch {
	case want.Count < 0 && len(came) == 0, want.Count >= 0 && want.Count != len(came):
		d := Difference{Kind: Alerts, Path: want.Rule, Position: want.Position, Want: "some", Got: len(came)}
		if want.Count >= 0 {
			d.Want = want.Count
		}
		if len(came) == 0 {
			d.Note = c.came.unknown(want.Rule)
		} else {
			d.Note = "first by event " + strconv.Itoa(came[0].event)
		}
		c.out = append(c.out, d)
	}
	if len(came) == 0 {
		return
	}
	last := came[len(came)-1]
	for _, path := range ordered(want.Fields, func(path string) config.Position { return want.At[path] }) {
		got, ok := lookup(last.fields, config.SplitPath(path))
		where := want.Rule + ": " + path
		switch wanted := want.Fields[path]; {
		case !ok:
			c.out = append(c.out, Difference{Kind: Missing, Path: where, Position: want.At[path], Want: wanted})
		case !config.SameValue(wanted, got):
			c.out = append(c.out, Difference{Kind: Differs, Path: where, Position: want.At[path], Want: wanted, Got: got, Note: whyDiffers(wanted, got)})
		}
	}
}

// alertsAnew are the wanted alerts, changed as little as makes them hold.
func (r *Result) alertsAnew() []config.WantedAlert {
	came := map[string][]alert{}
	var order []string
	for _, a := range r.came.alerts {
		if came[a.name] == nil {
			order = append(order, a.name)
		}
		came[a.name] = append(came[a.name], a)
	}
	out := []config.WantedAlert{}
	done := map[string]bool{}
	for _, was := range r.Case.Want.Alerts {
		name := was.Rule
		if byID := r.came.ids[name]; byID != "" {
			name = byID
		}
		list := came[name]
		done[name] = true
		switch {
		case len(list) == 0 && was.Count == 0:
			out = append(out, was)
		case len(list) == 0:
		default:
			now := config.WantedAlert{Rule: was.Rule, Count: was.Count}
			if was.Count >= 0 {
				now.Count = len(list)
			}
			for path := range was.Fields {
				if v, ok := lookup(list[len(list)-1].fields, config.SplitPath(path)); ok {
					if now.Fields == nil {
						now.Fields = map[string]any{}
					}
					now.Fields[path] = v
				}
			}
			out = append(out, now)
		}
	}
	for _, name := range order {
		if !done[name] {
			out = append(out, config.WantedAlert{Rule: name, Count: len(came[name])})
		}
	}
	return out
}
