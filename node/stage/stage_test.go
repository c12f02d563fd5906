package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// registry runs a registry over a folder that is short enough for sockets.
func registry(t *testing.T) (*plugin.Registry, string) {
	t.Helper()
	dir := shortdir.New(t)
	dir = filepath.Join(dir, "sockets")
	r := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return r, dir
}

func live(t *testing.T, r *plugin.Registry, kind plugin.Kind, name string) *plugin.Client {
	t.Helper()
	c := r.Client(kind, name)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.WaitLive(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func future(b []byte) []byte {
	return protowire.AppendString(protowire.AppendTag(b, 900, protowire.BytesType), "from the future")
}

func TestAlertIsCompletedNotRewritten(t *testing.T) {
	event := bridge.Item{ID: bridge.NewID([]byte("e")), Received: 7, Body: marshal(t, &pb.Event{
		Id: "e1", TenantId: "t1", TenantName: "First", DataType: "d", DataSource: "s",
	})}
	bare := future(marshal(t, &pb.Alert{Name: "n"}))
	namesakes := map[string]int{"other": 3}
	it, err := alertItem("rules", event, bare, namesakes)
	if err != nil {
		t.Fatal(err)
	}
	var a pb.Alert
	if err := proto.Unmarshal(it.Body, &a); err != nil {
		t.Fatal(err)
	}
	id := event.ID.Derive("rules\x00n", 0)
	if a.GetId() != uuid.UUID(id).String() || it.ID != id || a.GetTenantId() != "t1" || a.GetTenantName() != "First" ||
		a.GetDataType() != "d" || a.GetDataSource() != "s" || a.GetTimestamp() == "" || it.Subject != bridge.AlertSubject("t1", "d") || it.Received != 7 {
		t.Errorf("completed to %v on %s", &a, it.Subject)
	}
	if !bytes.HasPrefix(it.Body, bare) || len(a.ProtoReflect().GetUnknown()) == 0 {
		t.Error("what the plugin sent was rewritten")
	}

	whole := marshal(t, &pb.Alert{Id: "own", TenantId: "other", TenantName: "o", DataType: "x", DataSource: "y", Timestamp: "z", Name: "n"})
	it, err = alertItem("rules", event, whole, namesakes)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(it.Body, whole) || it.Subject != bridge.AlertSubject("other", "x") || it.ID != event.ID.Derive("rules\x00n", 1) {
		t.Errorf("a whole alert was changed, or is on %s", it.Subject)
	}
	if _, err := alertItem("rules", event, []byte{0xff}, namesakes); !bridge.IsPermanent(err) {
		t.Errorf("an alert that cannot be read: %v", err)
	}
}

func TestUnknownFieldsReachThePlugin(t *testing.T) {
	r, dir := registry(t)
	correlation := plugintest.Start(t, dir, plugin.Correlation, "c", plugintest.Script{})
	notification := plugintest.Start(t, dir, plugin.Notification, "n", plugintest.Script{})
	analysis := plugintest.Start(t, dir, plugin.Analysis, "a", plugintest.Script{})
	for _, tt := range []struct {
		handler bridge.Handler
		server  *plugintest.Server
		body    []byte
	}{
		{Correlation(live(t, r, plugin.Correlation, "c")), correlation, marshal(t, &pb.Alert{Id: "1"})},
		{Notification(live(t, r, plugin.Notification, "n")), notification, marshal(t, &pb.Message{Id: "1"})},
		{Analysis(live(t, r, plugin.Analysis, "a")), analysis, marshal(t, &pb.Event{Id: "1"})},
	} {
		if _, err := tt.handler(t.Context(), bridge.Item{Subject: bridge.MessageSubject("x"), Body: future(tt.body)}); err != nil {
			t.Fatal(err)
		}
		if got := tt.server.Items()[0]; len(got.ProtoReflect().GetUnknown()) == 0 {
			t.Errorf("%T: the unknown field is gone", got)
		}
	}
}

func TestVerdict(t *testing.T) {
	r, dir := registry(t)
	s := plugintest.Start(t, dir, plugin.Correlation, "c", plugintest.Script{})
	handler := Correlation(live(t, r, plugin.Correlation, "c"))
	item := bridge.Item{Body: marshal(t, &pb.Alert{Id: "1"})}
	for _, tt := range []struct {
		code            codes.Code
		permanent, wait bool
	}{
		{codes.OK, false, false},
		{codes.Unavailable, false, false},
		{codes.ResourceExhausted, false, false},
		{codes.Unknown, false, false},
		{codes.InvalidArgument, true, false},
		{codes.Unimplemented, true, false},
	} {
		s.SetScript(plugintest.Script{Code: tt.code, Message: "m"})
		_, err := handler(t.Context(), item)
		if (err == nil) != (tt.code == codes.OK) || bridge.IsPermanent(err) != tt.permanent || bridge.IsWait(err) != tt.wait {
			t.Errorf("%s: %v", tt.code, err)
		}
	}
	s.SetScript(plugintest.Script{Code: codes.Unavailable, RetryInfo: true})
	if _, err := handler(t.Context(), item); !bridge.IsWait(err) {
		t.Errorf("the plugin asks to come later: %v", err)
	}
	item.Body = bytes.Repeat([]byte("x"), 5<<20)
	if _, err := handler(t.Context(), item); !bridge.IsPermanent(err) {
		t.Errorf("above what a plugin receives: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := handler(ended, bridge.Item{}); !bridge.IsWait(err) {
		t.Errorf("the node stops: %v", err)
	}
}

// An output plugin that serves events only does not make dead letters of alerts.
func TestOutputServesWhatItWants(t *testing.T) {
	r, dir := registry(t)
	plugintest.Start(t, dir, plugin.Output, "o", plugintest.Script{Code: codes.Unimplemented})
	if _, err := AlertOutput(live(t, r, plugin.Output, "o"))(t.Context(), bridge.Item{}); !errors.Is(err, bridge.ErrDropped) {
		t.Errorf("alert output: %v", err)
	}
}

func TestTallies(t *testing.T) {
	var tallies Tallies
	item := func(i int) bridge.Item {
		return bridge.Item{ID: bridge.NewID([]byte(fmt.Sprint(i))), Received: int64(time.Second)}
	}
	if got := tallies.one(TopicEnqueueSuccess, "d", "s", item(0)); got != nil {
		t.Errorf("nobody asked, and got %v", got)
	}
	tallies.Want([]string{TopicEnqueueSuccess})
	var out []bridge.Item
	for i := range 10 {
		out = append(out, tallies.one(TopicEnqueueSuccess, fmt.Sprint("type", i%2), "s", item(i))...)
		out = append(out, bridge.Item{Subject: "epmesh.event.t.d", ID: item(i).ID})
	}
	merged := MergeTallies(out)
	if len(merged) != 12 {
		t.Fatalf("%d outputs of 10 events and tallies of 2 types", len(merged))
	}
	for i, it := range merged[10:] {
		var tally pb.Tally
		if err := proto.Unmarshal(it.Body, &tally); err != nil {
			t.Fatal(err)
		}
		if tally.GetCount() != 5 || tally.GetDataType() != fmt.Sprint("type", i) || tally.GetTopic() != TopicEnqueueSuccess || it.Subject != bridge.EngineSubject(TopicEnqueueSuccess) {
			t.Errorf("tally %v on %s", &tally, it.Subject)
		}
	}
	again := MergeTallies(out)
	if again[10].ID != merged[10].ID || merged[10].ID == merged[11].ID {
		t.Error("ids of tallies do not derive from what they count")
	}
}

func TestParseHandsOver(t *testing.T) {
	set, report := config.Parse("test", []byte("pipeline: [{dataTypes: [d], steps: [{dynamic: {plugin: p}}]}]"))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	pipelines, _ := pipeline.Compile(set, pipeline.Options{})
	r, dir := registry(t)
	parser := NewParser(pipelines, r, new(Tallies))
	log := marshal(t, &pb.Log{Id: "1", DataType: "d", TenantId: "t", Raw: "raw"})
	in := bridge.Item{ID: bridge.NewID(log), Body: log, Received: 3}
	out, err := parser.Log(t.Context(), in)
	if err != nil || len(out) != 1 || out[0].Subject != bridge.DraftSubject("p", "t", "d") || out[0].Received != 3 {
		t.Fatalf("the plugin is away: %v, %v", out, err)
	}
	plugintest.Start(t, dir, plugin.Parsing, "p", plugintest.Script{Set: map[string]string{"log.by": "p"}})
	live(t, r, plugin.Parsing, "p")
	var h pb.Handover
	if err := proto.Unmarshal(out[0].Body, &h); err != nil {
		t.Fatal(err)
	}
	other := proto.CloneOf(&h)
	other.Pipelines = "another set"
	for _, body := range [][]byte{out[0].Body, marshal(t, other)} {
		events, err := parser.Draft("p")(t.Context(), bridge.Item{ID: out[0].ID, Body: body})
		if err != nil || len(events) != 1 || events[0].Subject != bridge.EventSubject("t", "d") {
			t.Fatalf("resume: %v, %v", events, err)
		}
		var e pb.Event
		if err := proto.Unmarshal(events[0].Body, &e); err != nil || e.GetLog()["by"].GetStringValue() != "p" || e.GetRaw() != "raw" {
			t.Errorf("event %v, %v", &e, err)
		}
	}
	if _, err := parser.Log(t.Context(), bridge.Item{Body: []byte{0xff}}); !bridge.IsPermanent(err) {
		t.Errorf("no log at all: %v", err)
	}
}

func TestParseCountsFlaws(t *testing.T) {
	set, report := config.Parse("test", []byte("pipeline: [{dataTypes: [d], steps: [{json: {}}, {add: {function: string, params: {key: nowhere.x, value: y}}}]}]"))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	pipelines, _ := pipeline.Compile(set, pipeline.Options{})
	r, _ := registry(t)
	parser := NewParser(pipelines, r, new(Tallies))
	for _, raw := range []string{"{}", "no JSON", "{"} {
		if _, err := parser.Log(t.Context(), bridge.Item{Body: marshal(t, &pb.Log{DataType: "d", Raw: raw})}); err != nil {
			t.Fatal(err)
		}
	}
	if events, fields := parser.Flaws(); events != 2 || fields != 3 {
		t.Errorf("%d events with errors, %d fields vanished", events, fields)
	}
}
