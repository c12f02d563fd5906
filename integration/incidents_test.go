package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"
)

// Nodes with incidents on one NATS server, killed at any moment: what is stored
// in the message stream is one message for each alert, one parent for each
// group, and numbers without gaps.
func TestIncidentsOnNodesUnderKill(t *testing.T) {
	t.Parallel()
	_, _, seed := soak(t)
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	server := startNATS(t)
	const nodes, groups = 3, 3
	kills := 6
	if testing.Short() {
		kills = 2
	}
	dirs, running := make([]string, nodes), make([]*process, nodes)
	start := func(n int) *process {
		return startNode(t, dirs[n], "NATS_URL="+server.url(), fmt.Sprint("NODE_NAME=n", n), "EPMESH_NATS_DUPLICATE_WINDOW=10m")
	}
	for n := range nodes {
		dirs[n] = shortdir.New(t)
		configure(t, dirs[n], "plugins:\n  incidents: {bundled: incidents}\n  correlation: {order: [incidents]}\n")
		running[n] = start(n)
	}
	for _, p := range running {
		p.await()
	}
	if info, err := os.Stat(node.StateFile(dirs[0])); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v", node.StateFile(dirs[0]), err)
	}
	o := observeURL(t, server.url())
	// Somebody who wants all messages and takes none: they stay in the stream.
	_, err := o.js.CreateConsumer(t.Context(), bridge.StreamMessage, jetstream.ConsumerConfig{Durable: "ledger", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	b, err := bridge.Open(t.Context(), bridge.Options{Name: "sender", URL: server.url()})
	must(t, err)
	t.Cleanup(b.Close)

	sent := 0
	for round := range kills {
		for range 60 {
			id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, sent)).String()
			a := &pb.Alert{
				Id: id, Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Name: "rule", Severity: "low", TenantId: "t",
				Adversary: &pb.Side{Ip: fmt.Sprint("ip", sent%groups)},
			}
			if sent%4 == 3 {
				a.DeduplicateBy = []string{"adversary.ip"}
			}
			body, err := proto.Marshal(a)
			must(t, err)
			must(t, b.Publish(t.Context(), bridge.Item{ID: bridge.NewID([]byte(id)), Subject: bridge.AlertSubject("t", "d"), Body: body}))
			sent++
		}
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Duration(random.IntN(300)) * time.Millisecond)
		n := round % nodes
		running[n].kill()
		running[n] = start(n)
	}
	for _, p := range running {
		p.await()
	}
	o.rest()
	if dead := o.dead(); len(dead) > 0 {
		t.Errorf("dead letters: %v", dead)
	}

	alerts, parents, numbers := map[string]bool{}, map[string]string{}, map[string]string{}
	kinds, most := map[string]int{}, map[string]int{}
	o.items(bridge.StreamMessage, func(body []byte) {
		var msg pb.Message
		must(t, proto.Unmarshal(body, &msg))
		text := gjson.Parse(msg.GetMessage())
		id, kind, incident := text.Get("alert").String(), text.Get("kind").String(), text.Get("incident").String()
		if alerts[id] {
			t.Errorf("alert %s is stored twice", id)
		}
		alerts[id] = true
		kinds[kind]++
		count := "alerts"
		if kind == "duplicate" {
			count = "duplicates"
		} else {
			most[incident] = max(most[incident], int(text.Get("alerts").Int()))
		}
		number := fmt.Sprint(incident, count, text.Get(count).Int())
		if other, ok := numbers[number]; ok {
			t.Errorf("%s and %s are both %s", id, other, number)
		}
		numbers[number] = id
		parent := text.Get("parentId").String()
		if kind == "new" {
			parent = id
		}
		if other, ok := parents[incident]; ok && parent != "" && other != parent {
			t.Errorf("incident %s has the parents %s and %s", incident, other, parent)
		}
		if parent != "" {
			parents[incident] = parent
		}
	})
	if len(alerts) != sent || len(parents) != groups || kinds["new"] != groups {
		t.Errorf("%d alerts left of %d, %v, %d incidents", len(alerts), sent, kinds, len(parents))
	}
	total := kinds["duplicate"]
	for _, n := range most {
		total += n
	}
	if total != sent {
		t.Errorf("the incidents count %d alerts, %d were sent", total, sent)
	}
	t.Logf("%d alerts, %d kills of nodes: %v", sent, kills, kinds)
	for _, p := range running {
		p.stop()
	}
}
