package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

const countToFive = `
name: Brute force
dataTypes: [sshd]
where: equals("actionResult", "denied") && exists("origin.ip")
correlation:
  - indexPattern: v11-log-sshd-*
    with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}]
    within: 1h
    count: 4
`

// Three nodes share the events of one address; the rule that counts to five fires
// once, with all five in the alert, as on one node. Where a node is killed, alerts
// name it until it is forgotten.
func TestHistoryAcrossNodes(t *testing.T) {
	t.Parallel()
	const nodes, sources = 3, 20
	server := startNATS(t)
	dirs, running := make([]string, nodes), make([]*process, nodes)
	for n := range nodes {
		dirs[n] = shortdir.New(t)
		must(t, os.MkdirAll(filepath.Join(dirs[n], "rules"), 0o750))
		must(t, os.WriteFile(filepath.Join(dirs[n], "rules", "r.yml"), []byte(countToFive), 0o600))
		// Patient, as the machine may have other things to do.
		configure(t, dirs[n], "plugins:\n  analysis: {order: [cel]}\n  cel:\n    bundled: cel\n    history: {meshWait: 10s, meshForget: 20s}\n")
		running[n] = startNode(t, dirs[n], "NATS_URL="+server.url(), fmt.Sprint("NODE_NAME=n", n), "EPMESH_STAGES_ACK_WAIT=1m")
	}
	for n, p := range running {
		p.await()
		var others []string
		for m := range nodes {
			if m != n {
				others = append(others, fmt.Sprintf(`\"n%d\"`, m)) // a list in a text in JSON
			}
		}
		eventually(t, "the instances know each other", func() bool {
			return strings.Contains(p.tail(), "["+strings.Join(others, ",")+"]")
		})
	}
	o := observeURL(t, server.url())
	_, err := o.js.CreateConsumer(t.Context(), bridge.StreamAlert, jetstream.ConsumerConfig{Durable: "ledger", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	b, err := bridge.Open(t.Context(), bridge.Options{Name: "sender", URL: server.url()})
	must(t, err)
	t.Cleanup(b.Close)
	send := func(source string, n int) {
		e := &pb.Event{
			Id: fmt.Sprint(source, "-", n), DataType: "sshd", TenantId: "t", ActionResult: "denied", Origin: &pb.Side{Ip: source},
			Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		}
		body, err := proto.Marshal(e)
		must(t, err)
		must(t, b.Publish(t.Context(), bridge.Item{ID: bridge.NewID([]byte(e.Id)), Subject: bridge.EventSubject("t", "sshd"), Body: body}))
	}
	for n := range 5 {
		for s := range sources {
			send(fmt.Sprint("s", s), n)
		}
	}
	o.rest()
	alerts := storedAlerts(t, o)
	for s := range sources {
		of := alerts[fmt.Sprint("s", s)]
		if len(of) != 1 || len(of[0].Events) != 5 || len(of[0].Errors) > 0 {
			t.Errorf("s%d: %d alerts, want one with five events: %v", s, len(of), of)
		}
	}
	shares := 0
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "state", "cel", "history", "*"))
		must(t, err)
		if slices.ContainsFunc(files, func(f string) bool { info, err := os.Stat(f); return err == nil && info.Size() > 1000 }) {
			shares++
		}
	}
	if shares < 2 {
		t.Errorf("%d nodes had events: nothing was tested", shares)
	}

	running[2].kill()
	// burst sends until an alert is there, and gives what it lacks.
	bursts := 0
	burst := func() []string {
		bursts++
		source := fmt.Sprint("after", bursts)
		for n := range 5 {
			send(source, n)
		}
		var lacks []string
		eventually(t, "an alert after the kill", func() bool {
			of := storedAlerts(t, o)[source]
			if len(of) > 0 {
				lacks = of[0].Errors
			}
			return len(of) > 0
		})
		return lacks
	}
	if lacks := burst(); len(lacks) != 1 || !strings.HasPrefix(lacks[0], "history of node n2 is missing") {
		t.Errorf("the alert lacks %q", lacks)
	}
	eventually(t, "the node that is gone is forgotten", func() bool { return len(burst()) == 0 })
	for _, p := range running[:2] {
		p.stop()
	}
}

// storedAlerts are those of the stream, by the address that they are about.
func storedAlerts(t *testing.T, o *observer) map[string][]*pb.Alert {
	t.Helper()
	all := map[string][]*pb.Alert{}
	o.items(bridge.StreamAlert, func(body []byte) {
		a := new(pb.Alert)
		must(t, proto.Unmarshal(body, a))
		all[a.GetAdversary().GetIp()] = append(all[a.GetAdversary().GetIp()], a)
	})
	return all
}
