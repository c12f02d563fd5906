package stage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"github.com/epmesh/epmesh/node/stage"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
)

// A log that was handed over and one that was not are the same event: one that
// comes again, as after a crash, may go the other way.
func TestEventIsTheSameEitherWay(t *testing.T) {
	dir := shortdir.New(t)
	if err := config.WriteFile(t.Context(), dir, "a.yaml", []byte("pipeline:\n  - dataTypes: [app]\n    steps:\n      - dynamic: {plugin: enricher}\n")); err != nil {
		t.Fatal(err)
	}
	set, report := config.Load(dir)
	if len(report) > 0 {
		t.Fatal(report)
	}
	pipelines, problems := pipeline.Compile(set, pipeline.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	registry := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- registry.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}()
	parser := stage.NewParser(pipelines, registry, new(stage.Tallies))
	body, err := proto.Marshal(&pb.Log{Id: "1", DataType: "app", Raw: "x"})
	if err != nil {
		t.Fatal(err)
	}
	log := bridge.Item{ID: bridge.NewID([]byte("log")), Subject: bridge.LogSubject("t", "app"), Received: 7, Body: body, Attempt: 1}

	drafts, err := parser.Log(t.Context(), log)
	if err != nil || len(drafts) != 1 || drafts[0].Subject != bridge.DraftSubject("enricher", "", "app") {
		t.Fatalf("without the plugin: %v, %v", drafts, err)
	}
	plugintest.Start(t, dir, plugin.Parsing, "enricher", plugintest.Script{})
	wait, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := registry.Client(plugin.Parsing, "enricher").WaitLive(wait); err != nil {
		t.Fatal(err)
	}
	direct, err := parser.Log(t.Context(), log)
	if err != nil || len(direct) != 1 {
		t.Fatalf("with it: %v, %v", direct, err)
	}
	handed, err := parser.Draft("enricher")(t.Context(), drafts[0])
	if err != nil || len(handed) != 1 {
		t.Fatalf("handed over: %v, %v", handed, err)
	}
	if handed[0].ID != direct[0].ID || handed[0].Subject != direct[0].Subject || handed[0].Received != 7 {
		t.Errorf("handed over it is %s on %s, else %s on %s", handed[0].ID, handed[0].Subject, direct[0].ID, direct[0].Subject)
	}

	// A draft that does not say whose it is cannot be worked on.
	broken := drafts[0]
	if broken.Body, err = proto.Marshal(&pb.Handover{Log: body, Draft: &pb.Draft{Log: "{}"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Draft("enricher")(t.Context(), broken); !bridge.IsPermanent(err) {
		t.Errorf("a draft without its log's id: %v", err)
	}
}

// differing are parsers of two nodes whose pipeline files differ, and which have no
// plugins.
func differing(t *testing.T) (here, there *stage.Parser) {
	t.Helper()
	dir := shortdir.New(t)
	registry := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: hclog.NewNullLogger()})
	parser := func(more string) *stage.Parser {
		set, report := config.Parse("a.yaml", []byte("pipeline: [{dataTypes: [app], steps: [{dynamic: {plugin: one}}, {dynamic: {plugin: two}}]}]\n"+more))
		if len(report) > 0 {
			t.Fatal(report)
		}
		pipelines, problems := pipeline.Compile(set, pipeline.Options{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return stage.NewParser(pipelines, registry, new(stage.Tallies))
	}
	return parser(""), parser("patterns: {word: '\\w+'}\n")
}

// Where nodes have different pipelines, a draft may wait for one plugin twice on
// its way. The stream must not take the second for a repetition of the first.
func TestDraftThatStartsAgainIsAnother(t *testing.T) {
	here, there := differing(t)
	body, err := proto.Marshal(&pb.Log{Id: "1", DataType: "app", Raw: "x"})
	if err != nil {
		t.Fatal(err)
	}
	item := bridge.Item{ID: bridge.NewID([]byte("log")), Subject: bridge.LogSubject("t", "app"), Body: body, Attempt: 1}
	seen := map[bridge.ID]bool{}
	step := func(out []bridge.Item, err error) {
		t.Helper()
		if err != nil || len(out) != 1 {
			t.Fatalf("%v, %v", out, err)
		}
		item = out[0]
		var h pb.Handover
		if err := proto.Unmarshal(item.Body, &h); err != nil {
			t.Fatal(err)
		}
		if seen[item.ID] || int(h.GetRestarts()) != len(seen) || bridge.ID(h.GetId()) != bridge.NewID([]byte("log")) {
			t.Fatalf("draft %s after %d others: %v", item.ID, len(seen), &h)
		}
		seen[item.ID] = true
	}
	first := item
	step(here.Log(t.Context(), first))
	again, err := here.Log(t.Context(), first)
	if err != nil || again[0].ID != item.ID {
		t.Errorf("done again, the log's draft is %v, %v", again, err)
	}
	step(there.Draft("two")(t.Context(), item))
	step(here.Draft("two")(t.Context(), item))
	step(there.Draft("two")(t.Context(), item))
}

// While nodes have different pipelines, logs that start again keep to a pace; once
// they have the same, what is left does not wait for long.
func TestLogsThatStartAgainKeepToAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := differing(t)
		body, err := proto.Marshal(&pb.Log{Id: "1", DataType: "app", Raw: "x"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		const logs, rounds = 100, 6
		for range logs {
			item := bridge.Item{ID: bridge.NewID([]byte("log")), Subject: bridge.LogSubject("t", "app"), Body: body, Attempt: 1}
			out, err := here.Log(t.Context(), item)
			for i := 0; err == nil && i < rounds; i++ {
				out, err = []*stage.Parser{there, here}[i%2].Draft("two")(t.Context(), out[0])
			}
			if err != nil || len(out) != 1 {
				t.Fatalf("%v, %v", out, err)
			}
		}
		// Two of six are free; of the other 400 each node has half, 200 a second.
		if took := time.Since(began); took < 800*time.Millisecond || took > 1100*time.Millisecond {
			t.Errorf("%d logs started again %d times each within %v", logs, rounds, took)
		}
	})
}
