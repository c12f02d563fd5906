package incidents

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

func alert(id, ip string) *pb.Alert {
	return &pb.Alert{
		Id: id, Name: "Brute force", Severity: "high", TenantId: "t", DataSource: "web-1",
		Adversary: &pb.Side{Ip: ip}, Target: &pb.Side{Host: "web-1", User: "root"},
		Events: []*pb.Event{{Id: "e1"}, {Id: "e2", Origin: &pb.Side{Ip: ip, User: "guess"}}},
	}
}

func run(t *testing.T, settings string) (*enginetest.Engine, pb.CorrelationClient) {
	t.Helper()
	e := enginetest.New(t, shortdir.New(t))
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

func bodies(t *testing.T, e *enginetest.Engine) (list []body) {
	t.Helper()
	for _, m := range e.Messages() {
		var b body
		if err := json.Unmarshal([]byte(m.Message), &b); err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

func TestOneMessageForEachAlert(t *testing.T) {
	e, client := run(t, "")
	for _, a := range []*pb.Alert{alert("1", "203.0.113.1"), alert("2", "203.0.113.2"), alert("3", "203.0.113.1"), alert("1", "203.0.113.1")} {
		if _, err := client.Correlate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	got := bodies(t, e)
	if len(got) != 3 {
		t.Fatalf("%d messages: %v", len(got), got)
	}
	first, other, second := got[0], got[1], got[2]
	if first.Incident == other.Incident || first.Incident != second.Incident {
		t.Errorf("incidents: %s %s %s", first.Incident, other.Incident, second.Incident)
	}
	if first.Alerts != 1 || second.Alerts != 2 || second.Parent != "1" || first.Parent != "" || first.LastEvent != "e2" {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	if want := "HIGH Brute force from 203.0.113.1 against web-1 (2 events, alert 2 of its incident)"; second.Summary != want {
		t.Errorf("summary: %s", second.Summary)
	}
	m := e.Messages()[0]
	if m.Topic != Topic || m.Id == "" || m.Timestamp == "" {
		t.Errorf("message: %v", m)
	}
}

// The same alert has the same message id in another process.
func TestMessageIDDerivesFromTheAlert(t *testing.T) {
	ids := map[string]bool{}
	for range 2 {
		e, client := run(t, "")
		if _, err := client.Correlate(t.Context(), alert("1", "203.0.113.1")); err != nil {
			t.Fatal(err)
		}
		ids[e.Messages()[0].Id] = true
	}
	if len(ids) != 1 {
		t.Errorf("ids: %v", ids)
	}
}

func TestEqualAlertsAreLeftOut(t *testing.T) {
	e, client := run(t, "")
	for n := range 5 {
		a := alert(fmt.Sprint(n), fmt.Sprint("203.0.113.", n%2))
		a.DeduplicateBy = []string{"adversary.ip", "lastEvent.origin.user"}
		if _, err := client.Correlate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if got := bodies(t, e); len(got) != 2 {
		t.Errorf("%d messages", len(got))
	}
}

// An alert whose message is not stored fails, and is no reason to leave out the
// next equal one.
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
	if _, err := client.Correlate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range e.Messages() {
		ids[m.Id] = true
	}
	if len(ids) != 1 {
		t.Errorf("message ids: %v", ids)
	}
	if got := bodies(t, e); got[len(got)-1].Alerts != 1 {
		t.Errorf("the alert was counted again: %+v", got[len(got)-1])
	}
}

func TestConcurrentAlertsOfOneSource(t *testing.T) {
	e, client := run(t, "")
	var group sync.WaitGroup
	for n := range 40 {
		group.Go(func() {
			if _, err := client.Correlate(t.Context(), alert(fmt.Sprint(n), "203.0.113.1")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	incidents, counts := map[string]bool{}, map[int]bool{}
	for _, b := range bodies(t, e) {
		incidents[b.Incident], counts[b.Alerts] = true, true
	}
	if len(incidents) != 1 || len(counts) != 40 {
		t.Errorf("%d incidents, %d counts", len(incidents), len(counts))
	}
}

func TestSource(t *testing.T) {
	a := alert("1", "203.0.113.1")
	for _, test := range []struct {
		change func(*pb.Alert)
		want   string
	}{
		{func(*pb.Alert) {}, "t|adversary.ip|203.0.113.1"},
		{func(a *pb.Alert) { a.GroupBy = []string{"target.user", "nothing"} }, "t|target.user|root"},
		{func(a *pb.Alert) { a.GroupBy = []string{"lastEvent.origin.user"} }, "t|lastEvent.origin.user|guess"},
		{func(a *pb.Alert) { a.GroupBy = []string{"origin.user"} }, "t|origin.user|guess"},
		{func(a *pb.Alert) { a.GroupBy, a.Adversary = nil, nil }, "t|dataSource|web-1"},
		{func(a *pb.Alert) { a.DataSource, a.Events = "", nil }, "t|name|Brute force"},
	} {
		test.change(a)
		if got := strings.ReplaceAll(sourceOf(a), "\x00", "|"); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

func TestIncidentsCloseAndMemoryIsBounded(t *testing.T) {
	b := newBook(settings{MaxKept: 10, CloseAfter: plugins.Duration(time.Hour), DeduplicateFor: plugins.Duration(time.Minute)})
	now := time.Now()
	first, _ := b.take(alert("1", "x"), now)
	later, _ := b.take(alert("2", "x"), now.Add(2*time.Hour))
	if first.id == later.id || later.alerts != 1 {
		t.Errorf("a closed incident goes on: %+v %+v", first, later)
	}
	dup := func(id string) *pb.Alert { a := alert(id, "y"); a.DeduplicateBy = []string{"adversary.ip"}; return a }
	b.take(dup("3"), now)
	if _, v := b.take(dup("4"), now.Add(30*time.Second)); v != twin {
		t.Error("an equal alert within the time was taken")
	}
	if _, v := b.take(dup("5"), now.Add(2*time.Minute)); v != send {
		t.Error("an equal alert after the time was left out")
	}
	for n := range 100 {
		b.take(alert(fmt.Sprint("m", n), fmt.Sprint(n)), now)
	}
	if b.incidents.order.Len() != 10 || len(b.incidents.items) != 10 || len(b.alerts.items) != 10 {
		t.Errorf("%d incidents, %d alerts remembered", len(b.incidents.items), len(b.alerts.items))
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"topic":""}`:             "topic: may not be empty",
		`{"closeAfter":"0s"}`:      "closeAfter: is 0s",
		`{"maxKept":0}`:            "maxKept: is 0",
		`{"deduplicateFor":"-1s"}`: "deduplicateFor: is -1s",
	} {
		if _, err := New(plugins.Instance{Name: "i", Config: gjson.Parse(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
