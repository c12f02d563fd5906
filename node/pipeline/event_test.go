package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

// encode makes an event of a draft's text by our own way.
func encode(t testing.TB, set *Set, text string) (*pb.Event, Result, error) {
	t.Helper()
	d := newDraft(set.options.Limits)
	if err := d.Parse(text); err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	r := run{set: set, d: d, ctx: t.Context()}
	result, err := r.finish()
	if err != nil {
		return nil, result, err
	}
	event := &pb.Event{}
	if err := proto.Unmarshal(result.Event, event); err != nil {
		t.Fatalf("%s: we wrote what cannot be read: %v", text, err)
	}
	return event, result, nil
}

// compareJSON compares with what protojson makes of the same text.
func compareJSON(t testing.TB, set *Set, text string) {
	t.Helper()
	got, _, err := encode(t, set, text)
	want := &pb.Event{}
	wantErr := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(text), want)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: %v, protojson: %v", text, err, wantErr)
	}
	if err != nil {
		return
	}
	if want.DeviceTime == "" {
		want.DeviceTime = want.Timestamp
	}
	if d := gocmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateNaNs()); d != "" {
		t.Fatalf("%s: %s", text, d)
	}
}

func emptySet() *Set {
	set, _ := Compile(&config.Set{}, Options{ListUnknown: true})
	return set
}

func TestEventLikeProtoJSON(t *testing.T) {
	set := emptySet()
	for _, text := range []string{
		`{}`, `{"log":{}}`, `{"log":null}`, `{"log":{"a":null}}`, `{"log":[]}`, `{"log":"x"}`,
		`{"target":{"geolocation":{}}}`, `{"target":{}}`, `{"target":null}`, `{"target":"x"}`, `{"target":[]}`,
		`{"origin":{"port":"443"}}`, `{"origin":{"port":443.0}}`, `{"origin":{"port":4.43e2}}`, `{"origin":{"port":4.5}}`,
		`{"origin":{"port":-1}}`, `{"origin":{"port":-0}}`, `{"origin":{"port":4294967296}}`, `{"origin":{"port":" 443"}}`,
		`{"origin":{"port":"0443"}}`, `{"origin":{"port":""}}`, `{"origin":{"port":true}}`, `{"origin":{"port":null}}`, `{"origin":{"port":{}}}`,
		`{"origin":{"packagesSent":"18446744073709551615"}}`, `{"origin":{"packagesSent":18446744073709551616}}`,
		`{"origin":{"packagesSent":1e19}}`, `{"origin":{"packagesSent":"12 34"}}`, `{"origin":{"packagesSent":"12}"}}`,
		`{"origin":{"bytesSent":"12.5"}}`, `{"origin":{"bytesSent":"NaN"}}`, `{"origin":{"bytesSent":"-Infinity"}}`, `{"origin":{"bytesSent":1e400}}`,
		`{"origin":{"bytesSent":-0.0}}`, `{"origin":{"bytesSent":"x"}}`, `{"origin":{"bytesSent":0}}`, `{"origin":{"ip":5}}`,
		`{"origin":{"disks":[{"name":"a","totalSpace":"5"},{}]}}`, `{"origin":{"disks":[null]}}`, `{"origin":{"disks":{}}}`, `{"origin":{"disks":null}}`,
		`{"errors":["a",""]}`, `{"errors":[null]}`, `{"errors":"a"}`, `{"errors":[1]}`,
		`{"compliance":{"pci":{"values":["1",""]}}}`, `{"compliance":{"pci":null}}`, `{"compliance":{"":{}}}`, `{"compliance":{"a":{"x":1}}}`,
		`{"@timestamp":"T"}`, `{"timestamp":"T"}`, `{"@timestamp":"T","timestamp":"U"}`, `{"@timestamp":null,"timestamp":"U"}`, `{"@timestamp":"T","deviceTime":""}`, `{"@timestamp":"T","deviceTime":"D"}`,
		`{"unknown":{"deep":[1]},"id":"x"}`, `{"[x]":1}`, `{"@type":"x"}`, `{"":1}`,
		`{"log":{"n":1e308,"m":-0,"s":"\u0000é","t":[true,false,null,[],{},{"a":{"b":[1,"2"]}}],"":""}}`, `{"log":{"n":1e309}}`,
		`{"raw":"` + strings.Repeat("long ", 1000) + `","log":{"a":{"b":"` + strings.Repeat("é", 70) + `","c":["` + strings.Repeat("x", 20000) + `"]}}}`,
	} {
		compareJSON(t, set, text)
	}
}

// anyJSON makes values of every type, numbers as text among them.
func anyJSON(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Float64().AsAny(), rapid.IntRange(-3, 70000).AsAny(),
		rapid.SampledFrom([]any{"", "443", "4.5", "-1", "1e3", "x", " 1", "NaN", json.Number("1e2"), json.Number("18446744073709551615"), strings.Repeat("y", 130)}),
	)
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(scalar, rapid.SliceOfN(anyJSON(depth-1), 0, 3).AsAny(),
		rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "values", "name", "ip", "port", "asn"}), anyJSON(depth-1), 0, 4).AsAny())
}

func TestEventRandom(t *testing.T) {
	set := emptySet()
	side := rapid.MapOfN(rapid.SampledFrom([]string{"ip", "port", "bytesSent", "packagesSent", "disks", "geolocation", "none"}), anyJSON(2), 0, 3)
	rapid.Check(t, func(r *rapid.T) {
		doc := map[string]any{}
		for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
			"id", "@timestamp", "deviceTime", "raw", "log", "target", "origin", "statusCode", "errors", "compliance", "protocol", "unknown",
		}), 0, 5, rapid.ID[string]).Draw(r, "keys") {
			switch key {
			case "target", "origin":
				doc[key] = side.Draw(r, key)
			case "log":
				doc[key] = rapid.MapOf(rapid.String(), anyJSON(3)).Draw(r, key)
			case "id", "raw", "@timestamp":
				doc[key] = rapid.String().Draw(r, key)
			default:
				doc[key] = anyJSON(2).Draw(r, key)
			}
		}
		text, err := json.Marshal(doc)
		if err != nil {
			r.Fatal(err)
		}
		compareJSON(t, set, string(text))
	})
}

func FuzzEvent(f *testing.F) {
	f.Add(`{"log":{"a":[1,{"b":null}]},"origin":{"port":"1","bytesSent":"1.5"}}`)
	f.Add(`{"errors":["x"],"compliance":{"a":{"values":["b"]}},"timestamp":"T"}`)
	set := emptySet()
	f.Fuzz(func(t *testing.T, text string) {
		d := newDraft(set.options.Limits)
		if d.Parse(text) != nil {
			return
		}
		// Our parser forgives equal keys and broken UTF-8; protojson sees what
		// it made of them.
		compareJSON(t, set, string(d.Root().AppendJSON(nil)))
	})
}

func TestEventDefaults(t *testing.T) {
	set, _ := Compile(&config.Set{Tenants: []*pb.Tenant{{Id: "t1", Name: "One"}}}, Options{ListUnknown: true})
	event, result, err := encode(t, set, `{"tenantId":"t1","tenantName":"other","x":1,"origin":{"y":2,"geolocation":{"z":3}},"@timestamp":"T"}`)
	if err != nil || event.TenantName != "One" || event.DeviceTime != "T" {
		t.Errorf("%v, %v", event, err)
	}
	if d := gocmp.Diff([]string{"x", "origin.y", "origin.geolocation.z"}, result.UnknownFields); d != "" || result.Unknown != 3 {
		t.Error(d)
	}
	if event, _, _ := encode(t, set, `{"tenantId":"t2","tenantName":"mine"}`); event.TenantName != "mine" {
		t.Error(event)
	}
	_, _, err = encode(t, set, `{"origin":{"geolocation":{"asn":"x"}}}`)
	if err == nil || !strings.Contains(err.Error(), `field origin.geolocation.asn: cannot read "x" as a whole number from 0 to 18446744073709551615`) {
		t.Error(err)
	}
}
