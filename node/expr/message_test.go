package expr

import (
	"strings"
	"testing"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/tree"
)

func sampleEvent(t testing.TB) *pb.Event {
	t.Helper()
	log, err := structpb.NewStruct(map[string]any{
		"user": "alice", "n": 4.5, "yes": true, "nil": nil,
		"deep": map[string]any{"x": []any{1.0, map[string]any{"y": "z"}}, "empty": map[string]any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pb.Event{
		Id: "e1", Timestamp: "2026-09-23T14:05:00Z", Protocol: "TCP", StatusCode: 204, Log: log.Fields,
		Origin: &pb.Side{Ip: "198.51.100.7", Port: 51234, BytesSent: 12.5, PackagesSent: 1 << 60, Disks: []*pb.DiskInfo{{Name: "a", UsedPercent: 5}}},
		Target: &pb.Side{Geolocation: &pb.Geolocation{}},
		Errors: []string{"one", "two"}, Compliance: map[string]*pb.ComplianceValues{"pci": {Values: []string{"1.1"}}},
	}
}

// TestMessageLikeJSON compares every path of messages with the same path in
// their protobuf-JSON text.
func TestMessageLikeJSON(t *testing.T) {
	event := sampleEvent(t)
	alert := &pb.Alert{Name: "a", Impact: &pb.Impact{Integrity: 3}, Adversary: event.Origin, Events: []*pb.Event{event}}
	for _, tt := range []struct {
		m   proto.Message
		doc Doc
	}{{event, FromEvent(event)}, {alert, FromAlert(alert)}, {&pb.Event{}, FromEvent(&pb.Event{})}} {
		text, err := protojson.Marshal(tt.m)
		if err != nil {
			t.Fatal(err)
		}
		ref := tree.New(tree.Limits{})
		if err := ref.Parse(string(text)); err != nil {
			t.Fatal(err)
		}
		paths := []string{"none", "log.none", "origin.none", "origin.ip.x", "log.deep.x.9", "errors.9", "timestamp", "log.d*", "origin.disks.#", "events.0.log.user"}
		collect(ref.Root().Value(), "", &paths)
		for _, path := range paths {
			p := tree.ParsePath(path)
			got, want := tt.doc.Lookup(p), ref.Lookup(p)
			if got.Kind != want.Kind || got.Num != want.Num {
				t.Errorf("%s: %v %v, in JSON %v %v", path, got.Kind, got.Num, want.Kind, want.Num)
				continue
			}
			if got.Kind < tree.Array && got.String() != want.String() {
				t.Errorf("%s: %q, in JSON %q", path, got.String(), want.String())
			}
			if got.Kind >= tree.Array {
				if got.Sub.Len() != want.Sub.Len() {
					t.Errorf("%s: %d values, in JSON %d", path, got.Sub.Len(), want.Sub.Len())
				}
				a, b := new(structpb.Value), new(structpb.Value)
				if err := protojson.Unmarshal(got.Sub.AppendJSON(nil), a); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if err := protojson.Unmarshal(want.Sub.AppendJSON(nil), b); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(a.AsInterface(), b.AsInterface()); d != "" {
					t.Errorf("%s: %s", path, d)
				}
			}
		}
	}
}

func collect(v tree.Value, prefix string, paths *[]string) {
	if v.Kind < tree.Array {
		return
	}
	i := 0
	v.Sub.Each(func(key string, item tree.Value) bool {
		if v.Kind == tree.Array {
			key = string(rune('0' + i))
			i++
		}
		path := strings.TrimPrefix(prefix+"."+key, ".")
		*paths = append(*paths, path)
		collect(item, path, paths)
		return true
	})
}

func TestEvalEvent(t *testing.T) {
	doc := FromEvent(sampleEvent(t))
	for source, want := range map[string]bool{
		`exists("origin.ip") && equals("target.geolocation.asn", 0)`:        false,
		`inCIDR("origin.ip", "198.51.100.0/24")`:                            true,
		`equals("origin.packagesSent", "1152921504606846976")`:              true,
		`greaterThan("origin.packagesSent", 5)`:                             true,
		`log.deep.x[1].y == "z" && origin.port == 51234`:                    true,
		`compliance.pci.values[0] == "1.1" && errors.exists(e, e == "two")`: true,
		`exists("target.geolocation")`:                                      true,
		`isWorkDay("@timestamp")`:                                           true,
	} {
		p, err := Compile(source, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Eval(doc); err != nil || got != want {
			t.Errorf("%s: %v, %v", source, got, err)
		}
		agree(t, p, doc)
	}
}

func BenchmarkEvent(b *testing.B) {
	event := sampleEvent(b)
	doc := FromEvent(event)
	b.Run("origin", func(b *testing.B) { bench(b, `equals("origin.ip", "10.0.0.1")`, doc, false) })
	b.Run("log", func(b *testing.B) { bench(b, `equals("log.user", "bob")`, doc, false) })
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := protojson.Marshal(event); err != nil {
				b.Fatal(err)
			}
		}
	})
}
