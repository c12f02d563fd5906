package incidents

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

func alert(id, ip string) *pb.Alert {
	return &pb.Alert{
		Id: id, Timestamp: "2026-11-26T10:00:00.5Z", Name: "Brute force", Severity: "high", TenantId: "t", DataSource: "web-1",
		Adversary: &pb.Side{Ip: ip}, Target: &pb.Side{Host: "web-1", User: "root"},
		Events: []*pb.Event{{Id: "e1"}, {Id: "e2", Raw: "failed password", Origin: &pb.Side{Ip: ip, User: "guess"}}},
	}
}

// run runs the plugin with an engine beside it; state: memory unless the
// settings say otherwise.
func run(t *testing.T, settings string) (*enginetest.Engine, pb.CorrelationClient) {
	t.Helper()
	return runIn(t, shortdir.New(t), settings)
}

func runIn(t *testing.T, dir, settings string) (*enginetest.Engine, pb.CorrelationClient) {
	t.Helper()
	e := enginetest.New(t, dir)
	if settings == "" {
		settings = `{"state":"memory"}`
	}
	r, err := New(plugins.Instance{Name: "inc", Dir: e.Dir, Logger: hclog.NewNullLogger(), Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	client := pb.NewCorrelationClient(enginetest.Dial(t, e.Dir, "inc_correlation.sock"))
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e, client
}

func send(t *testing.T, client pb.CorrelationClient, alerts ...*pb.Alert) {
	t.Helper()
	for _, a := range alerts {
		if _, err := client.Correlate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

func decodeBody(t testing.TB, m *pb.Message) (b body) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.Message), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func bodies(t testing.TB, e *enginetest.Engine) (list []body) {
	t.Helper()
	for _, m := range e.Messages() {
		list = append(list, decodeBody(t, m))
	}
	return list
}

// One incident of several rules, a duplicate in it, and another beside it.
func TestMessages(t *testing.T) {
	e, client := run(t, "")
	brute := alert("1", "203.0.113.1")
	brute.DeduplicateBy = []string{"adversary.ip"}
	login := alert("2", "203.0.113.1")
	login.Name, login.Severity, login.Target.Host, login.Timestamp = "Login after failures", "critical", "web-2", "2026-11-26T10:05:00Z"
	again := alert("3", "203.0.113.1")
	again.DeduplicateBy, again.Timestamp = brute.DeduplicateBy, "2026-11-26T10:06:00Z"
	send(t, client, brute, login, again, alert("4", "203.0.113.2"), brute)
	got := bodies(t, e)
	if len(got) != 4 {
		t.Fatalf("%d messages: %v", len(got), got)
	}
	id := incidentID("t", "1")
	side := map[string]string{"ip": "203.0.113.1"}
	target := map[string]string{"host": "web-1", "user": "root"}
	events := []evidence{{ID: "e1"}, {ID: "e2", Raw: "failed password"}}
	want := []body{
		{
			Summary: "HIGH Brute force from 203.0.113.1 against web-1 (2 events): new incident", Kind: "new",
			Alert: "1", Name: "Brute force", Severity: "high", TenantID: "t", DataSource: "web-1", Adversary: side, Target: target,
			GroupedBy: map[string]string{"adversary.ip": "203.0.113.1"}, Events: 2, LastEvents: events,
			Incident: id, IncidentName: "Brute force", IncidentSeverity: "high", Alerts: 1,
			Names: []string{"Brute force"}, Targets: []string{"web-1"},
			FirstSeen: "2026-11-26T10:00:00.500Z", LastSeen: "2026-11-26T10:00:00.500Z",
		},
		{
			Summary: "CRITICAL Login after failures from 203.0.113.1 against web-2 (2 events): alert 2 of incident Brute force, which is now CRITICAL", Kind: "update",
			Alert: "2", ParentID: "1", Name: "Login after failures", Severity: "critical", TenantID: "t", DataSource: "web-1",
			Adversary: side, Target: map[string]string{"host": "web-2", "user": "root"},
			GroupedBy: map[string]string{"adversary.ip": "203.0.113.1"}, Events: 2, LastEvents: events,
			Incident: id, IncidentName: "Brute force", IncidentSeverity: "critical", SeverityRose: true, Alerts: 2,
			Children: []string{"2"}, Names: []string{"Brute force", "Login after failures"}, Targets: []string{"web-1", "web-2"},
			FirstSeen: "2026-11-26T10:00:00.500Z", LastSeen: "2026-11-26T10:05:00.000Z",
		},
		{
			Summary: "HIGH Brute force from 203.0.113.1 against web-1 (2 events): seen before, duplicate 1 of incident Brute force", Kind: "duplicate",
			Alert: "3", DuplicateOf: "1", Name: "Brute force", Severity: "high", TenantID: "t", DataSource: "web-1", Adversary: side, Target: target,
			GroupedBy: map[string]string{"adversary.ip": "203.0.113.1"}, Events: 2, LastEvents: events,
			Incident: id, IncidentName: "Brute force", IncidentSeverity: "critical", Alerts: 2, Duplicates: 1,
			Children: []string{"2"}, Names: []string{"Brute force", "Login after failures"}, Targets: []string{"web-1", "web-2"},
			FirstSeen: "2026-11-26T10:00:00.500Z", LastSeen: "2026-11-26T10:06:00.000Z",
		},
	}
	for n, w := range want {
		if diff := cmp.Diff(w, got[n]); diff != "" {
			t.Errorf("message %d: %s", n, diff)
		}
	}
	if got[3].Incident == id || got[3].Kind != opened {
		t.Errorf("the other source: %+v", got[3])
	}
	for n, topic := range []string{"incidents.new", "incidents.update", "incidents.duplicate", "incidents.new"} {
		if m := e.Messages()[n]; m.Topic != topic || m.Id == "" || m.Timestamp == "" {
			t.Errorf("message %d: %v", n, m)
		}
	}
}

func TestTopics(t *testing.T) {
	e, client := run(t, `{"state":"memory","topics":{"new":"pages","update":"mail","duplicate":""}}`)
	first, second := alert("1", "a"), alert("2", "a")
	first.DeduplicateBy, second.DeduplicateBy = []string{"adversary.ip"}, []string{"adversary.ip"}
	send(t, client, first, second, alert("3", "a"))
	var topics []string
	for _, m := range e.Messages() {
		topics = append(topics, m.Topic)
	}
	if !slices.Equal(topics, []string{"pages", "mail"}) || bodies(t, e)[1].Duplicates != 1 {
		t.Errorf("topics %v", topics)
	}
}

func TestAlertWithoutID(t *testing.T) {
	_, client := run(t, "")
	if _, err := client.Correlate(t.Context(), alert("", "a")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error: %v", err)
	}
}

// An alert whose message is not stored comes again, counts once, and gets the
// message that it had.
func TestNotStoredComesAgain(t *testing.T) {
	e, client := run(t, "")
	e.Hold(true)
	a := alert("1", "203.0.113.1")
	a.DeduplicateBy = []string{"adversary.ip"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Correlate(ctx, a); err == nil {
		t.Fatal("the call went well without an ack")
	}
	e.Hold(false)
	send(t, client, a)
	texts := map[string]bool{}
	for _, m := range e.Messages() {
		texts[m.String()] = true
	}
	if b := bodies(t, e)[0]; len(texts) != 1 || b.Kind != opened || b.Alerts != 1 {
		t.Errorf("messages: %v", texts)
	}
}

func TestConcurrentAlertsOfOneSource(t *testing.T) {
	e, client := run(t, "")
	var group sync.WaitGroup
	for n := range 200 {
		group.Go(func() {
			if _, err := client.Correlate(t.Context(), alert(fmt.Sprint(n), "203.0.113.1")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	incidents, numbers := map[string]bool{}, map[int]bool{}
	for _, b := range bodies(t, e) {
		incidents[b.Incident], numbers[b.Alerts] = true, true
		if len(b.Children) > 50 {
			t.Errorf("%d children", len(b.Children))
		}
	}
	if len(incidents) != 1 || len(numbers) != 200 {
		t.Errorf("%d incidents, %d numbers", len(incidents), len(numbers))
	}
}

func TestPaths(t *testing.T) {
	list := func(v ...any) *structpb.Value {
		l, err := structpb.NewList(v)
		if err != nil {
			t.Fatal(err)
		}
		return structpb.NewListValue(l)
	}
	s := defaults()
	of := func(change func(*pb.Alert)) *facts {
		a := alert("1", "203.0.113.1")
		change(a)
		return factsOf(a, &s, time.Now())
	}
	group := func(paths ...string) func(*pb.Alert) { return func(a *pb.Alert) { a.GroupBy = paths } }
	same := func(paths ...string) func(*pb.Alert) { return func(a *pb.Alert) { a.DeduplicateBy = paths } }
	and := func(fs ...func(*pb.Alert)) func(*pb.Alert) {
		return func(a *pb.Alert) {
			for _, f := range fs {
				f(a)
			}
		}
	}
	logs := func(v *structpb.Value) func(*pb.Alert) {
		return func(a *pb.Alert) { a.Events[1].Log = map[string]*structpb.Value{"x": v} }
	}
	for name, test := range map[string]struct {
		a, b func(*pb.Alert)
		want bool
	}{
		"the default is the adversary's address":    {group(), group("adversary.ip"), true},
		"the order of paths":                        {group("adversary.ip", "target.user"), group("target.user", "adversary.ip"), true},
		"a path twice":                              {group("adversary.ip"), group("adversary.ip", "adversary.ip"), true},
		"a path without a value":                    {group("adversary.ip"), group("adversary.ip", "nothing"), true},
		"no path with a value":                      {group(), group("nothing"), true},
		"the same value under another path":         {group("adversary.ip"), group("lastEvent.origin.ip"), false},
		"another value":                             {group("target.user"), and(group("target.user"), func(a *pb.Alert) { a.Target.User = "x" }), false},
		"one value more":                            {group("target.user"), group("target.user", "target.host"), false},
		"another tenant":                            {group(), func(a *pb.Alert) { a.TenantId = "u" }, false},
		"another name":                              {group(), func(a *pb.Alert) { a.Name = "x" }, true},
		"keyword":                                   {group("lastEvent.origin.ip"), and(group("lastEvent.origin.ip"), func(a *pb.Alert) { a.Id = "2" }), true},
		"a list is a whole":                         {and(group("lastEvent.log.x"), logs(list("a", "b"))), and(group("lastEvent.log.x"), logs(list("b", "a"))), false},
		"a list that is equal":                      {and(group("lastEvent.log.x"), logs(list("a", 1))), and(group("lastEvent.log.x"), logs(list("a", 1))), true},
		"a number and its text":                     {and(group("lastEvent.log.x"), logs(structpb.NewNumberValue(4))), and(group("lastEvent.log.x"), logs(structpb.NewStringValue("4"))), true},
		"zero bytes do not shift values":            {and(group("target.user", "target.host"), func(a *pb.Alert) { a.Target.User = "a\x00b"; a.Target.Host = "c" }), and(group("target.user", "target.host"), func(a *pb.Alert) { a.Target.User = "a"; a.Target.Host = "b\x00c" }), false},
		"nothing to group by: the data source":      {func(a *pb.Alert) { a.Adversary = nil }, func(a *pb.Alert) { a.Adversary = nil; a.Id = "2" }, true},
		"nothing at all: each alert alone":          {func(a *pb.Alert) { a.Adversary, a.DataSource = nil, "" }, func(a *pb.Alert) { a.Adversary, a.DataSource, a.Id = nil, "", "2" }, false},
		"an event's path is the last event's":       {and(group("origin.user")), and(group("origin.user"), func(a *pb.Alert) { a.Events[1].Origin.User = "x" }), false},
		"a path through a list of events: by index": {group("events.0.id"), and(group("events.0.id"), func(a *pb.Alert) { a.Events[0].Id = "x" }), false},
	} {
		if got := of(test.a).group == of(test.b).group; got != test.want {
			t.Errorf("group, %s: same is %v", name, got)
		}
	}
	for name, test := range map[string]struct {
		a, b func(*pb.Alert)
		want bool
	}{
		"equal":                       {same("adversary.ip"), and(same("adversary.ip"), func(a *pb.Alert) { a.Id = "2" }), true},
		"another name":                {same("adversary.ip"), and(same("adversary.ip"), func(a *pb.Alert) { a.Name = "x" }), false},
		"another tenant":              {same("adversary.ip"), and(same("adversary.ip"), func(a *pb.Alert) { a.TenantId = "x" }), false},
		"both without one of two":     {same("adversary.ip", "adversary.user"), and(same("adversary.ip", "adversary.user"), func(a *pb.Alert) { a.Id = "2" }), true},
		"one with and one without it": {same("adversary.ip", "adversary.user"), and(same("adversary.ip", "adversary.user"), func(a *pb.Alert) { a.Adversary.User = "x" }), false},
		"the last event":              {same("lastEvent.origin.user"), and(same("lastEvent.origin.user"), func(a *pb.Alert) { a.Events[0].Origin = &pb.Side{User: "x"} }), true},
	} {
		x, y := of(test.a), of(test.b)
		if x.same == "" || y.same == "" {
			t.Errorf("deduplicate, %s: nothing to deduplicate by", name)
		}
		if got := x.same == y.same; got != test.want {
			t.Errorf("deduplicate, %s: same is %v", name, got)
		}
	}
	for name, f := range map[string]*facts{"no value": of(same("nothing", "adversary.user")), "no paths": of(same())} {
		if f.same != "" {
			t.Errorf("deduplicate, %s: %q", name, f.same)
		}
	}
}

func TestSeverities(t *testing.T) {
	for n, a := range []*pb.Alert{{}, {Severity: "low"}, {Severity: "Medium"}, {Severity: "odd", ImpactScore: 3}, {Severity: "CRITICAL", ImpactScore: 1}} {
		if got := rankOf(a); got != n {
			t.Errorf("%v: %d, want %d", a, got, n)
		}
	}
	if got := rankOf(&pb.Alert{ImpactScore: 99}); got != 3 {
		t.Errorf("impact 99: %d", got)
	}
}

// However large an alert is, its message is not.
func TestMessageIsBounded(t *testing.T) {
	s := defaults()
	s.Events, s.EventBytes = 20, 4096
	c := &correlator{settings: s}
	long := strings.Repeat("\x01", 1<<20)
	a := alert(long, long)
	a.Name, a.Description, a.TenantId, a.Category = long, long, long, long
	for range 100 {
		a.References = append(a.References, long)
		a.GroupBy = append(a.GroupBy, "target.user", long)
		a.Events = append(a.Events, &pb.Event{Id: long, Raw: long, Action: long})
	}
	f := factsOf(a, &s, time.Now())
	g := new(group)
	var last outcome
	for n := range 600 {
		f.id, f.name, f.target = fmt.Sprintf("%0128d", n), cut(fmt.Sprint(n, long), maxText), cut(fmt.Sprint(n, long), maxText)
		last = g.outcome(g.add(f, &s))
	}
	m, err := c.message(f, last)
	if err != nil || len(m.Message) > maxBody+1<<16 {
		t.Errorf("%d bytes: %v", len(m.Message), err)
	}
	g.forget(len(g.Recent) - maxRecent - maxBatch)
	text, err := g.encode()
	if err != nil || len(text) > maxValue/2 {
		t.Errorf("a value of %d bytes: %v", len(text), err)
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"topics":{"new":""}}`:              "topics.new: may not be empty",
		`{"topics":{"update":""}}`:           "topics.update: may not be empty",
		`{"closeAfter":"0s"}`:                "closeAfter: is 0s",
		`{"maxOpen":"9999h"}`:                "maxOpen: is 9999h",
		`{"deduplicateFor":"-1s"}`:           "deduplicateFor: is -1s",
		`{"maxChildren":501}`:                "maxChildren: is 501",
		`{"events":-1}`:                      "events: is -1",
		`{"eventBytes":5000}`:                "eventBytes: is 5000",
		`{"cache":0}`:                        "cache: is 0",
		`{"state":"disk"}`:                   `state: is "disk", want shared or memory`,
		`{"groupBy":[""]}`:                   "groupBy: a path is empty",
		`{"nats":{"credentials":"x"}}`:       "nats.credentials: goes with nats.url",
		`{"nats":{"url":"a","context":"b"}}`: "nats.context: names a server",
		`{"topic":"x"}`:                      `unknown setting "topic"`,
	} {
		if _, err := New(plugins.Instance{Name: "i", Config: gjson.Parse(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	r, err := New(plugins.Instance{Name: "i", Config: gjson.Parse(`{"groupBy":[],"deduplicateFor":"0s"}`)})
	if err != nil {
		t.Fatal(err)
	}
	c := r.(*correlator)
	a, b := alert("1", "x"), alert("2", "x")
	a.DeduplicateBy, b.DeduplicateBy = []string{"adversary.ip"}, []string{"adversary.ip"}
	f, g := factsOf(a, &c.settings, time.Now()), factsOf(b, &c.settings, time.Now())
	if f.group == g.group || f.same != "" {
		t.Errorf("turned off: %+v", f)
	}
}

// Beside an embedded server that takes no connections nobody else can share.
func TestAlone(t *testing.T) {
	dir := shortdir.New(t)
	if err := bridge.WriteStateAccess(filepath.Join(dir, "run", "state.json"), bridge.StateAccess{}); err != nil {
		t.Fatal(err)
	}
	e, client := runIn(t, dir, "{}")
	send(t, client, alert("1", "x"), alert("2", "x"))
	if got := bodies(t, e); len(got) != 2 || got[1].ParentID != "1" {
		t.Errorf("messages: %+v", got)
	}
}

// No state is said with its cure.
func TestNoState(t *testing.T) {
	t.Setenv("NATS_URL", "")
	r, err := New(plugins.Instance{Name: "i", Dir: t.TempDir(), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "plugins.i.state: memory") {
		t.Errorf("error: %v", err)
	}
}
