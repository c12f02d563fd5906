package pipeline

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// load reads pipeline files as a node does.
func load(t testing.TB, files ...string) *config.Set {
	t.Helper()
	all := &config.Set{Patterns: map[string]string{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		set := parse(t, file, text)
		all.Pipelines = append(all.Pipelines, set.Pipelines...)
		maps.Copy(all.Patterns, set.Patterns)
	}
	return all
}

func parse(t testing.TB, name string, text []byte) *config.Set {
	t.Helper()
	set, report := config.Parse(name, text)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

func compileShared(t testing.TB) (*Set, *shared.Geolocation, string) {
	dir := shared.Dir(t, "conformance", "cisco-asa")
	set, problems := Compile(load(t, filepath.Join(dir, "filter.yaml"), filepath.Join(dir, "patterns.yaml")), Options{})
	for _, p := range problems {
		t.Error(p)
	}
	return set, loadGeolocation(t, dir), dir
}

func loadGeolocation(t testing.TB, dir string) *shared.Geolocation {
	geo, err := shared.LoadGeolocation(filepath.Join(dir, "geolocation"))
	if err != nil {
		t.Fatal(err)
	}
	return geo
}

func sharedLogs(t testing.TB, dir string) map[string]*pb.Log {
	var raw struct{ Cases map[string]string }
	readJSON(t, filepath.Join(dir, "raw.json"), &raw)
	logs := map[string]*pb.Log{}
	for name, line := range raw.Cases {
		logs[name] = &pb.Log{
			Id: "cisco-asa-" + name, DataType: "firewall-cisco-asa", DataSource: "fixture-asa",
			Timestamp: "2026-09-23T14:00:00Z", TenantId: "00000000-0000-4000-8000-000000000001", Raw: line,
		}
	}
	return logs
}

func readJSON(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// TestCiscoASA compares with what the reference engine gave.
func TestCiscoASA(t *testing.T) {
	set, geo, dir := compileShared(t)
	var expected struct {
		Cases map[string]struct {
			LogObject bool
			Fields    map[string]any
		}
	}
	readJSON(t, filepath.Join(dir, "expected.json"), &expected)
	logs := sharedLogs(t, dir)
	if len(logs) != 46 || len(expected.Cases) != 46 {
		t.Fatalf("%d lines, %d results", len(logs), len(expected.Cases))
	}
	for name, log := range logs {
		result, err := set.Run(t.Context(), log, geo.Parse)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		event := &pb.Event{}
		if err := proto.Unmarshal(result.Event, event); err != nil {
			t.Fatal(err)
		}
		want := expected.Cases[name]
		got := map[string]any{}
		flatten(t, event, got)
		if (event.Log != nil) != want.LogObject {
			t.Errorf("%s: log %v, want %v", name, event.Log != nil, want.LogObject)
		}
		if event.DeviceTime != log.Timestamp || len(event.Errors) > 0 || result.Unknown > 0 {
			t.Errorf("%s: deviceTime %q, errors %q, %d unknown fields", name, event.DeviceTime, event.Errors, result.Unknown)
		}
		for path, v := range want.Fields {
			if !reflect.DeepEqual(got[path], v) {
				t.Errorf("%s: %s is %v, want %v", name, path, got[path], v)
			}
			delete(got, path)
		}
		for path, v := range got {
			t.Errorf("%s: %s is %v, want nothing", name, path, v)
		}
	}
}

// flatten gives the leaves of an event without its envelope.
func flatten(t testing.TB, e *pb.Event, into map[string]any) {
	e = proto.Clone(e).(*pb.Event)
	e.Id, e.Timestamp, e.DeviceTime, e.DataType, e.DataSource, e.TenantId, e.TenantName, e.Raw = "", "", "", "", "", "", "", ""
	b, err := protojson.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(prefix string, v gjson.Result)
	walk = func(prefix string, v gjson.Result) {
		if v.IsObject() && len(v.Map()) > 0 {
			v.ForEach(func(key, v gjson.Result) bool {
				walk(strings.TrimPrefix(prefix+"."+key.String(), "."), v)
				return true
			})
			return
		}
		into[prefix] = v.Value()
		if strings.HasSuffix(prefix, ".asn") && v.Type == gjson.String {
			into[prefix] = v.Float()
		}
	}
	if top := gjson.ParseBytes(b); len(top.Map()) > 0 {
		walk("", top)
	}
}

// TestRealFilters compiles every real filter and runs hostile and ordinary
// lines through it.
func TestRealFilters(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared.Dir(t, "configs", "filters"), "*", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no filters", err)
	}
	lines := []string{"x", `{"a":1,"origin.ip":"1.2.3.4"}`, `<34>Oct 11 22:14:15 host app[1]: a=b c="d"`, strings.Repeat("a=b ", 5000), "\x00\n"}
	for _, file := range files {
		conf := load(t, file)
		set, problems := Compile(conf, Options{})
		for _, p := range problems {
			t.Logf("problem: %v", p)
		}
		for _, p := range conf.Pipelines {
			for _, dataType := range p.DataTypes {
				for _, line := range lines {
					log := &pb.Log{Id: "1", DataType: dataType, Timestamp: "2026-09-23T14:00:00Z", Raw: line}
					if _, err := set.Run(t.Context(), log, echo); err != nil {
						t.Errorf("%s: %.20q: %v", filepath.Base(file), line, err)
					}
				}
			}
		}
	}
}

// echo is a plugin that changes nothing.
func echo(_ context.Context, t *pb.Transform) (*pb.Draft, error) { return t.GetDraft(), nil }
