package fields

import (
	"testing"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestGet(t *testing.T) {
	log, err := structpb.NewStruct(map[string]any{"n": 4.0, "s": "text", "deep": map[string]any{"list": []any{"a", map[string]any{"b": true}}}, "null": nil})
	if err != nil {
		t.Fatal(err)
	}
	e := &pb.Event{
		Id: "1", Timestamp: "now", StatusCode: 404, Log: log.Fields, Errors: []string{"x", "y"},
		Origin: &pb.Side{Ip: "192.0.2.1", BytesSent: 1.5, PackagesSent: 7, Geolocation: &pb.Geolocation{City: "Rome"}},
	}
	for path, want := range map[string]any{
		"id": "1", "@timestamp": "now", "timestamp": nil, "statusCode": 404.0,
		"origin.ip": "192.0.2.1", "origin.ip.keyword": "192.0.2.1", "origin.ip.x": nil,
		"origin.bytesSent": 1.5, "origin.packagesSent": 7.0, "origin.geolocation.city": "Rome", "origin.user": nil,
		"target.ip": nil, "log.n": 4.0, "log.s": "text", "log.s.keyword": "text", "log.deep.list.1.b": true, "log.deep.list.9": nil, "log.deep.list.x": nil,
		"log.null": nil, "log.none": nil, "errors.1": "y", "errors.2": nil, "errors": []any{"x", "y"}, "": nil, "nothing": nil, "log": nil,
		"log.deep.list": []any{"a", map[string]any{"b": true}},
	} {
		if diff := cmp.Diff(want, Get(e, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if got := Get((*pb.Event)(nil), "id"); got != nil {
		t.Errorf("no event: %v", got)
	}
	if got := Get(&pb.Alert{Events: []*pb.Event{e}}, "events.0.origin.ip"); got != "192.0.2.1" {
		t.Errorf("event of an alert: %v", got)
	}
}

func TestText(t *testing.T) {
	for want, v := range map[string]any{"": nil, "a": "a", "true": true, "4": 4.0, "4.5": 4.5, "1000000000000": 1e12, `["a",1]`: []any{"a", 1.0}} {
		if got := Text(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
