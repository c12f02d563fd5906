package conform

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// wrong is something about a reply.
type wrong struct {
	status Status
	seen   string
	cure   string
}

// judge looks at what was answered to an item. Nil: it is as it should be.
func judge(kind plugin.Kind, item proto.Message, r reply) *wrong {
	switch kind {
	case plugin.Parsing:
		return judgeDraft(item.(*pb.Transform).GetDraft(), r.draft)
	case plugin.Analysis:
		for _, a := range r.alerts {
			if w := judgeAlert(item.(*pb.Event), a); w != nil {
				return w
			}
		}
		if n := r.size(); n > maxReply {
			return &wrong{Fail, fmt.Sprintf("the alerts of one event have %d bytes, more than a node takes (%d)", n, maxReply), "leave large events out of the alerts"}
		}
	}
	return nil
}

// kept are the fields of a draft that say which log it is.
var kept = []string{"id", "raw", "dataType", "dataSource", "@timestamp", "tenantId"}

func judgeDraft(before, after *pb.Draft) *wrong {
	text := after.GetLog()
	switch {
	case proto.Size(after) == 0:
		return &wrong{Fail, "the draft came back empty", "return the draft that came, changed"}
	case !gjson.Valid(text):
		return &wrong{Fail, "the draft that came back is no JSON: " + short(text), "change the draft's JSON with a JSON library"}
	case !gjson.Parse(text).IsObject():
		return &wrong{Fail, "the draft that came back is no JSON object: " + short(text), "return the object that came, changed"}
	}
	for _, field := range kept {
		name := strings.ReplaceAll(field, "@", `\@`)
		was, is := gjson.Get(before.GetLog(), name), gjson.Get(text, name)
		if was.Exists() && was.String() != is.String() {
			return &wrong{Fail, fmt.Sprintf("%s was %s and came back as %s", field, short(was.Raw), short(is.Raw)), "leave " + field + " as it is; it says which log this is"}
		}
	}
	if after.GetStep() != before.GetStep() || after.GetPipeline() != before.GetPipeline() {
		return &wrong{
			Warn, fmt.Sprintf("step %d and pipeline %d came back as %d and %d", before.GetStep(), before.GetPipeline(), after.GetStep(), after.GetPipeline()),
			"return the draft that came, changed, and not a new one",
		}
	}
	if len(after.GetErrors()) < len(before.GetErrors()) {
		return &wrong{Warn, "the errors of earlier steps are gone", "return the draft that came, changed, and not a new one"}
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(text), new(pb.Event)); err != nil {
		if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(before.GetLog()), new(pb.Event)) == nil {
			return &wrong{Fail, "the draft cannot become an event any more: " + err.Error(), "write fields with the types of the contract's Event, what is else below log"}
		}
	}
	return nil
}

func judgeAlert(e *pb.Event, a *pb.Alert) *wrong {
	switch {
	case a.GetName() == "":
		return &wrong{Warn, "an alert without name", "set name: people, incidents and deduplication go by it"}
	case len(a.GetEvents()) == 0:
		return &wrong{Warn, fmt.Sprintf("alert %q carries no event", short(a.GetName())), "put the event into events, as the last: it is the evidence"}
	case a.GetTenantId() != "" && e.GetTenantId() != "" && a.GetTenantId() != e.GetTenantId():
		return &wrong{Fail, fmt.Sprintf("alert %q of an event of tenant %q is of tenant %q", short(a.GetName()), e.GetTenantId(), a.GetTenantId()), "give an alert its event's tenantId, or none"}
	case a.GetImpact().GetConfidentiality() > 3 || a.GetImpact().GetIntegrity() > 3 || a.GetImpact().GetAvailability() > 3 || a.GetImpactScore() > 3:
		return &wrong{Warn, fmt.Sprintf("alert %q has an impact above 3", short(a.GetName())), "impact goes from 0 to 3"}
	}
	return nil
}

// described says what a reply holds.
func described(kind plugin.Kind, item proto.Message, r reply) string {
	switch kind {
	case plugin.Parsing:
		if r.draft.GetLog() == item.(*pb.Transform).GetDraft().GetLog() {
			return "the draft came back as it was"
		}
		return "the draft came back changed"
	case plugin.Analysis:
		if len(r.alerts) == 1 {
			return fmt.Sprintf("one alert, %q", short(r.alerts[0].GetName()))
		}
		return fmt.Sprintf("%d alerts", len(r.alerts))
	}
	return "taken"
}

// difference says where two replies to the same item differ; empty if nowhere.
func difference(a, b reply) string {
	switch {
	case a.draft != nil:
		if proto.Equal(a.draft, b.draft) {
			return ""
		}
		was, is := gjson.Parse(a.draft.GetLog()), gjson.Parse(b.draft.GetLog())
		return "the draft" + where(was, is, "")
	case len(a.alerts) != len(b.alerts):
		return fmt.Sprintf("%d alerts, then %d", len(a.alerts), len(b.alerts))
	}
	for i := range a.alerts {
		x, y := a.alerts[i], b.alerts[i]
		switch {
		case x.GetId() != y.GetId():
			return fmt.Sprintf("the id of an alert: %q, then %q", short(x.GetId()), short(y.GetId()))
		case !proto.Equal(x, y):
			return "an alert besides its id"
		}
	}
	return ""
}

// where finds the first field that differs.
func where(was, is gjson.Result, path string) string {
	if was.Raw == is.Raw {
		return ""
	}
	if was.IsObject() && is.IsObject() && strings.Count(path, ".") < 20 {
		found := ""
		is.ForEach(func(key, value gjson.Result) bool {
			old := was.Map()[key.String()]
			found = where(old, value, path+"."+key.String())
			return found == ""
		})
		if found != "" {
			return found
		}
	}
	return fmt.Sprintf("%s: %s, then %s", path, short(was.Raw), short(is.Raw))
}

func short(s string) string {
	if r := []rune(strings.ToValidUTF8(s, "\uFFFD")); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}
