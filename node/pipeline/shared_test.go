package pipeline

import (
	"bytes"
	"cmp"
	"context"
	stdcsv "encoding/csv"
	"encoding/json"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

// sharedDir finds the third-party recordings and configurations, which are not
// part of the repository.
func sharedDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("EPMESH_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		at := filepath.Join(dir, "shared")
		if _, err := os.Stat(filepath.Join(at, "conformance")); err == nil {
			return at
		}
	}
	t.Skip("no shared folder beside the checkout or in EPMESH_SHARED: the recordings are not run")
	return ""
}

// loadYAML reads pipeline files as package config does, but for its checks.
func loadYAML(t testing.TB, files ...string) *config.Set {
	t.Helper()
	set := &config.Set{Patterns: map[string]string{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		addYAML(t, set, file, text)
	}
	return set
}

func addYAML(t testing.TB, set *config.Set, file string, text []byte) {
	t.Helper()
	var doc struct {
		Pipeline []struct {
			DataTypes []string    `yaml:"dataTypes"`
			Steps     []yaml.Node `yaml:"steps"`
		} `yaml:"pipeline"`
		Patterns map[string]string `yaml:"patterns"`
		Tenants  []struct{ Name, ID string }
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for name, p := range doc.Patterns {
		set.Patterns[name] = p
	}
	for _, tenant := range doc.Tenants {
		set.Tenants = append(set.Tenants, &pb.Tenant{Id: tenant.ID, Name: tenant.Name})
	}
	for _, p := range doc.Pipeline {
		out := config.Pipeline{DataTypes: p.DataTypes}
		for _, node := range p.Steps {
			var raw map[string]any
			if err := node.Decode(&raw); err != nil {
				t.Fatalf("%s:%d: %v", file, node.Line, err)
			}
			for kind, v := range raw {
				if v == nil { // "json:" alone
					raw[kind] = map[string]any{}
				}
			}
			text, err := json.Marshal(raw)
			if err != nil {
				t.Fatal(err)
			}
			st := config.Step{Position: config.Position{File: file, Line: node.Line, Column: node.Column}, Proto: &pb.Step{}}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, st.Proto); err != nil {
				t.Fatalf("%s:%d: %v", file, node.Line, err)
			}
			for kind := range raw {
				st.Kind = kind
			}
			out.Steps = append(out.Steps, st)
		}
		set.Pipelines = append(set.Pipelines, out)
	}
}

// geolocation is a parsing plugin that answers from the recordings' tables.
type geolocation struct {
	blocks, asns []record
	locations    map[string]map[string]string
}

type record struct {
	network netip.Prefix
	columns map[string]string
}

func newGeolocation(t testing.TB, dir string) *geolocation {
	g := &geolocation{locations: map[string]map[string]string{}}
	read := func(name string, each func(map[string]string)) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := stdcsv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			columns := map[string]string{}
			for i, header := range rows[0] {
				columns[header] = row[i]
			}
			each(columns)
		}
	}
	network := func(to *[]record) func(map[string]string) {
		return func(c map[string]string) { *to = append(*to, record{netip.MustParsePrefix(c["network"]), c}) }
	}
	for _, v := range []string{"v4", "v6"} {
		read("blocks-"+v+".csv", network(&g.blocks))
		read("asn-blocks-"+v+".csv", network(&g.asns))
	}
	read("locations-en.csv", func(c map[string]string) { g.locations[c["geoname_id"]] = c })
	return g
}

func find(records []record, ip netip.Addr) map[string]string {
	for _, r := range records {
		if r.network.Contains(ip) {
			return r.columns
		}
	}
	return nil
}

func (g *geolocation) call(_ context.Context, t *pb.Transform) (*pb.Draft, error) {
	params := t.GetStep().GetDynamic().GetParams()
	draft := t.GetDraft()
	ip, err := netip.ParseAddr(gjson.Get(draft.Log, params["source"].GetStringValue()).String())
	if err != nil {
		return draft, nil
	}
	geo := map[string]any{}
	if b := find(g.blocks, ip); b != nil {
		place := g.locations[b["geoname_id"]]
		geo["country"], geo["countryCode"], geo["city"] = place["country_name"], place["country_iso_code"], place["city_name"]
		geo["latitude"], _ = strconv.ParseFloat(b["latitude"], 64)
		geo["longitude"], _ = strconv.ParseFloat(b["longitude"], 64)
	}
	if a := find(g.asns, ip); a != nil {
		geo["asn"], _ = strconv.ParseUint(a["autonomous_system_number"], 10, 64)
		geo["aso"] = a["autonomous_system_organization"]
	}
	draft.Log, err = sjson.Set(draft.Log, params["destination"].GetStringValue(), geo)
	return draft, err
}

func compileShared(t testing.TB) (*Set, *geolocation, string) {
	dir := filepath.Join(sharedDir(t), "conformance", "cisco-asa")
	set, problems := Compile(loadYAML(t, filepath.Join(dir, "filter.yaml"), filepath.Join(dir, "patterns.yaml")), Options{})
	for _, p := range problems {
		t.Error(p)
	}
	return set, newGeolocation(t, filepath.Join(dir, "geolocation")), dir
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
		result, err := set.Run(t.Context(), log, geo.call)
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
	files, err := filepath.Glob(filepath.Join(sharedDir(t), "configs", "filters", "*", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no filters", err)
	}
	lines := []string{"x", `{"a":1,"origin.ip":"1.2.3.4"}`, `<34>Oct 11 22:14:15 host app[1]: a=b c="d"`, strings.Repeat("a=b ", 5000), "\x00\n"}
	for _, file := range files {
		conf := loadYAML(t, file)
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

// BenchmarkCiscoASA runs the whole filter on its lines, in turn. The dynamic
// steps answer at once with the draft they are given.
func BenchmarkCiscoASA(b *testing.B) {
	set, _, dir := compileShared(b)
	byName := sharedLogs(b, dir)
	var logs []*pb.Log
	for _, log := range byName {
		logs = append(logs, log)
	}
	slices.SortFunc(logs, func(a, b *pb.Log) int { return cmp.Compare(a.Id, b.Id) })
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := set.Run(b.Context(), logs[i%len(logs)], echo); err != nil {
			b.Fatal(err)
		}
		i++
	}
	perSecond(b)
}

func perSecond(b *testing.B) {
	if s := b.Elapsed().Seconds(); s > 0 {
		b.ReportMetric(math.Round(float64(b.N)/s), "logs/s")
	}
}
