package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"google.golang.org/protobuf/proto"
)

// marker is a parsing plugin whose mark depends on what was there before, so that
// an event tells which plugins it went through and in which order. It refuses
// some, as the pipeline notes on the event.
type marker struct {
	pb.UnimplementedParsingServer
	p program
}

func (m marker) ParseLog(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
	text := tr.GetDraft().GetLog()
	if err := m.p.note("drafts", gjson.Get(text, "id").String()); err != nil {
		return nil, err
	}
	if gjson.Get(text, "log.n").Int()%10 == 7 && m.p.Name == "two" {
		return nil, errors.New("not sevens")
	}
	text, err := sjson.Set(text, "log.way", gjson.Get(text, "log.way").String()+">"+m.p.Name)
	if err == nil {
		text, err = sjson.Set(text, "log."+m.p.Name, len(text))
	}
	tr.Draft.Log = text
	return tr.GetDraft(), err
}

const handoverPipeline = `
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
      - dynamic: {plugin: one}
      - rename: {from: [log.text], to: log.renamed}
      - dynamic: {plugin: two, where: 'exists("log.one")'}
      - add: {function: string, params: {key: log.added, value: between}}
  - dataTypes: [app]
    steps:
      - dynamic: {plugin: three}
      - delete: {fields: [log.renamed]}
`

// handover is a mesh on one server whose nodes host some of three parsing
// plugins each.
type handover struct {
	t       *testing.T
	dirs    []string
	nodes   []*process
	records string
	o       *observer
}

// startHandover starts a node for each list of plugins.
func startHandover(t *testing.T, hosted ...[]string) *handover {
	t.Helper()
	server := startNATS(t)
	h := &handover{t: t, records: t.TempDir()}
	for i, names := range hosted {
		dir := shortdir.New(t)
		configure(t, dir, handoverPipeline)
		h.dirs = append(h.dirs, dir)
		for _, name := range names {
			h.install(i, name)
		}
		h.nodes = append(h.nodes, startNode(t, dir, "NATS_URL="+server.url(), fmt.Sprint("NODE_NAME=n", i)))
	}
	for _, n := range h.nodes {
		n.await()
	}
	h.o = observeURL(t, server.url())
	// Somebody who wants all events and takes none: they stay in the stream.
	_, err := h.o.js.CreateConsumer(t.Context(), bridge.StreamEvent, jetstream.ConsumerConfig{Durable: "ledger", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	return h
}

func (h *handover) install(node int, name string) {
	program{Kind: plugin.Parsing, Name: name, Records: h.records, Marks: true}.install(h.t, h.dirs[node])
}

const handoverLogs = 400

// send sends the logs to the first node.
func (h *handover) send() {
	h.t.Helper()
	s := startSender(h.t, h.dirs[0], 2000, func(n int) *pb.Log {
		return &pb.Log{
			Id: fmt.Sprintf("log-%d", n), DataType: "app", DataSource: "test", TenantId: fmt.Sprint("t", n%3), Timestamp: "2026-01-01T00:00:00Z",
			Raw: fmt.Sprintf(`{"n": %d, "text": "%s"}`, n, strings.Repeat("x", n%50)),
		}
	})
	eventually(h.t, "the logs are sent", func() bool { made, _ := s.counts(); return made >= handoverLogs })
	s.stop()
}

// events waits for an event of each of the first logs, and gives their bytes.
func (h *handover) events() map[string][]byte {
	h.t.Helper()
	events := map[string][]byte{}
	next := uint64(1)
	stream, err := h.o.js.Stream(h.t.Context(), bridge.StreamEvent)
	must(h.t, err)
	eventually(h.t, "an event for each log", func() bool {
		info, err := stream.Info(h.t.Context())
		must(h.t, err)
		for ; next <= info.State.LastSeq; next++ {
			m, err := stream.GetMsg(h.t.Context(), next)
			must(h.t, err)
			var batch pb.Batch
			must(h.t, proto.Unmarshal(m.Data, &batch))
			for _, item := range batch.GetItems() {
				var e pb.Event
				must(h.t, proto.Unmarshal(item.GetBody(), &e))
				if e.GetLog()["n"].GetNumberValue() >= handoverLogs {
					continue
				}
				if before, twice := events[e.GetId()]; twice && !bytes.Equal(before, item.GetBody()) {
					h.t.Errorf("%s is two different events", e.GetId())
				}
				events[e.GetId()] = item.GetBody()
			}
		}
		return len(events) == handoverLogs
	})
	if dead := h.o.dead(); len(dead) > 0 {
		h.t.Errorf("dead letters: %v", dead)
	}
	return events
}

// Three dynamic plugins on three nodes make the same events as on one, to the
// byte; also where the nodes have different pipeline files for a moment, and
// where drafts wait for a plugin that appears later.
func TestHandOver(t *testing.T) {
	t.Parallel()
	one := startHandover(t, []string{"one", "two", "three"})
	one.send()
	want := one.events()
	var e pb.Event
	must(t, proto.Unmarshal(want["log-1"], &e))
	if way := e.GetLog()["way"].GetStringValue(); way != ">one>two>three" {
		t.Fatalf("an event went %q", way)
	}
	same := func(t *testing.T, h *handover) {
		t.Helper()
		got, differ := h.events(), 0
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if !bytes.Equal(got[id], want[id]) {
				if differ++; differ <= 3 {
					t.Errorf("%s is\n%q\nand was\n%q", id, got[id], want[id])
				}
			}
		}
		if differ > 0 {
			t.Errorf("%d of %d events differ", differ, len(want))
		}
	}
	t.Run("three nodes", func(t *testing.T) {
		t.Parallel()
		h := startHandover(t, []string{"one"}, []string{"two"}, []string{"three"})
		h.send()
		same(t, h)
		for i, name := range []string{"one", "two", "three"} {
			if n := len(records(t, h.records, name+".drafts", 1)); n < handoverLogs {
				t.Errorf("plugin %s of node %d was called %d times", name, i, n)
			}
		}
	})
	t.Run("different files for a moment", func(t *testing.T) {
		t.Parallel()
		h := startHandover(t, []string{"one"}, []string{"two"}, []string{"three"})
		configure(t, h.dirs[1], handoverPipeline+"patterns: {word: '\\w+'}\n")
		eventually(t, "the node took its file", func() bool { return strings.Contains(h.nodes[1].tail(), "pipeline files reloaded") })
		h.send()
		eventually(t, "drafts started again", func() bool { return len(records(t, h.records, "one.drafts", 1)) > handoverLogs*2 })
		for _, dir := range []string{h.dirs[0], h.dirs[2]} {
			configure(t, dir, handoverPipeline+"patterns: {word: '\\w+'}\n")
		}
		same(t, h)
	})
	t.Run("a plugin that comes later", func(t *testing.T) {
		t.Parallel()
		h := startHandover(t, []string{"one"}, []string{"two"}, nil)
		h.send()
		eventually(t, "all wait for the third plugin", func() bool {
			c, err := h.o.js.Consumer(t.Context(), bridge.StreamDraft, "draft-three")
			must(t, err)
			left := h.o.left()
			return c.CachedInfo().NumPending > 0 && strings.HasPrefix(left, "draft-three: ") && strings.Count(left, ";") == 1
		})
		if n := len(h.loud()); n > 0 {
			t.Errorf("waiting is told as an error %d times:\n%s", n, strings.Join(h.loud(), "\n"))
		}
		h.install(2, "three")
		same(t, h)
	})
}

// loud are what the nodes logged as warnings and errors.
func (h *handover) loud() []string {
	var lines []string
	for _, n := range h.nodes {
		for line := range strings.Lines(n.tail()) {
			settings := gjson.Get(line, "@message").String() == "settings" // which name what is of no use with an external server
			if level := gjson.Get(line, "@level").String(); !settings && (level == "warn" || level == "error") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}
