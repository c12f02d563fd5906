package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/epmesh/epmesh/integration/shared"
	pb "github.com/epmesh/epmesh/proto"
)

// compileSchema checks a schema against that of draft 2020-12 and makes it ready.
func compileSchema(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("epmesh.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("epmesh.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// against is what a schema says about a YAML text: the places of what is wrong.
func against(t testing.TB, s *jsonschema.Schema, text []byte) []string {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	invalid := &jsonschema.ValidationError{}
	if err := s.Validate(doc); err == nil {
		return nil
	} else if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	var places []string
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			places = append(places, "/"+strings.Join(e.InstanceLocation, "/"))
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	slices.Sort(places)
	return slices.Compact(places)
}

func TestPipelineSchema(t *testing.T) {
	s := compileSchema(t, PipelineSchema())
	step := func(text string) string { return "pipeline: [{dataTypes: [a], steps: [" + text + "]}]" }
	for text, want := range map[string]string{
		step(""):                                      "",
		step("json: {}"):                              "",
		step("json: {source: raw, where: 'x'}"):       "",
		step("json: {source: null}"):                  "",
		step("json: {sourc: raw}"):                    "/pipeline/0/steps/0/json",
		step("json: {source: 5}"):                     "/pipeline/0/steps/0/json/source",
		step("json: null"):                            "/pipeline/0/steps/0/json",
		step("{}"):                                    "/pipeline/0/steps/0",
		step("{json: {}, xml: {}}"):                   "/pipeline/0/steps/0",
		step("expand: {source: a}"):                   "/pipeline/0/steps/0",
		step("kv: {fieldSplit: ' '}"):                 "/pipeline/0/steps/0/kv",
		step("kv: {fieldSplit: ' ', valueSplit: ''}"): "/pipeline/0/steps/0/kv/valueSplit",
		step("csv: {headers: []}"):                    "/pipeline/0/steps/0/csv/headers",
		step("csv: {headers: [a, null]}"):             "/pipeline/0/steps/0/csv/headers/1",
		step("csv: {headers: a}"):                     "/pipeline/0/steps/0/csv/headers",
		step("xml: {}"):                               "",
		step("grok: {patterns: [{pattern: x}, {pattern: y, fieldName: z}]}"):        "",
		step("grok: {patterns: [{fieldName: x}]}"):                                  "/pipeline/0/steps/0/grok/patterns/0",
		step("grok: {patterns: [{pattern: x, field_name: y}]}"):                     "/pipeline/0/steps/0/grok/patterns/0",
		step("rename: {from: [a], to: b}"):                                          "",
		step("rename: {from: [a]}"):                                                 "/pipeline/0/steps/0/rename",
		step("cast: {fields: [a], to: '[]string'}"):                                 "",
		step("cast: {fields: [a], to: integer}"):                                    "/pipeline/0/steps/0/cast/to",
		step("trim: {function: regex, substring: x, fields: [a]}"):                  "",
		step("trim: {function: cut, fields: [a]}"):                                  "/pipeline/0/steps/0/trim/function",
		step("reformat: {function: time, fields: [a], fromFormat: x, toFormat: y}"): "",
		step("add: {function: string, params: {key: a, value: 5}}"):                 "",
		step("add: {function: string, params: {key: a}}"):                           "/pipeline/0/steps/0/add/params",
		step("add: {function: string, params: {key: 5, value: a}}"):                 "/pipeline/0/steps/0/add/params/key",
		step("delete: {fields: [a]}"):                                               "",
		step("drop: {}"):                                                            "",
		step("drop: {where: true}"):                                                 "/pipeline/0/steps/0/drop/where",
		step("dynamic: {plugin: p, params: {a: [1, {b: null}]}}"):                   "",
		step("dynamic: {}"):                                                         "/pipeline/0/steps/0/dynamic",
		"pipeline: [{steps: []}]":                                                   "/pipeline/0",
		"pipelines: []":                                                             "/",
		"- x":                                                                       "/",
		"patterns: {a: b}":                                                          "",
		"patterns: {a: 5}":                                                          "/patterns/a",
		"disabledRules: [1, '2']":                                                   "",
		"tenants: [{id: x, name: y, assets: [{name: z, ips: [a], integrity: 3}], disabledRules: [5]}]": "",
		"tenants: [{name: y}]": "/tenants/0",
		"plugins: {analysis: {order: [a]}, a: {bundled: rules, x: [y]}, b: 5, c: null}": "",
		"plugins: {analysis: {order: a}}":                                               "/plugins/analysis/order",
		"plugins: {analysis: {order: ['a/b']}}":                                         "/plugins/analysis/order/0",
		"plugins: {a: {bundled: [x]}}":                                                  "/plugins/a/bundled",
		"mesh: {place: [{stage: analysis, plugin: cel, groups: [a]}, {dataType: x, tenant: y, groups: [b, c]}], affinity: {a: origin.ip, b: {key: tenantId, partitions: 8}}, singletons: [p]}": "",
		"mesh: {places: []}":                             "/mesh",
		"mesh: {place: [{stage: anlysis, groups: [a]}]}": "/mesh/place/0/stage",
		"mesh: {place: [{stage: analysis}]}":             "/mesh/place/0",
		"mesh: {place: [{groups: [a]}]}":                 "/mesh/place/0",
		"mesh: {place: [{tenant: a, groups: ['a,b']}]}":  "/mesh/place/0/groups/0",
		"mesh: {place: [{tenant: a, groups: []}]}":       "/mesh/place/0/groups",
		"mesh: {affinity: {a: {key: x, partitions: 0}}}": "/mesh/affinity/a /mesh/affinity/a/partitions",
		"mesh: {singletons: ['a b']}":                    "/mesh/singletons/0",
	} {
		got := strings.Join(against(t, s, []byte(text)), " ")
		if got != want {
			t.Errorf("%s: wrong at %q, want %q", text, got, want)
		}
	}
	// What the schema takes, the reader takes without a word about keys.
	takenByBoth(t, s, "testdata/set/*.txtar", func(name string, data []byte) Report {
		_, report := Parse(name, data)
		return report
	})
}

// takenByBoth reads the files of golden archives.
func takenByBoth(t *testing.T, s *jsonschema.Schema, pattern string, read func(string, []byte) Report) {
	t.Helper()
	archives, err := filepath.Glob(pattern)
	if err != nil || len(archives) == 0 {
		t.Fatal(pattern, err)
	}
	taken := 0
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			var v any
			if filepath.Ext(f.Name) != ".yaml" || yaml.Unmarshal(f.Data, &v) != nil {
				continue
			}
			if _, err := json.Marshal(v); err != nil || v == nil || len(against(t, s, f.Data)) > 0 {
				continue
			}
			taken++
			for _, p := range read(f.Name, f.Data) {
				if p.Severity == Error || strings.Contains(p.Message, "unknown key") {
					t.Errorf("%s: the schema takes what the reader does not: %s", path, p)
				}
			}
		}
	}
	if taken == 0 {
		t.Error("the schema takes no file")
	}
}

func TestRuleSchema(t *testing.T) {
	s := compileSchema(t, RuleSchema())
	for text, want := range map[string]string{
		"{name: a, dataTypes: [b], where: 'x'}":                                "",
		"[{name: a, dataTypes: [b]}, {name: c, dataTypes: [d], id: 5}]":        "",
		"{name: a, dataTypes: [b], adversary: target, impact: {integrity: 3}}": "",
		"{name: a, dataTypes: [b], correlation: [{indexPattern: i, within: 5m, count: 3, with: [{field: f, operator: filter_term, value: '{{.x}}'}], or: [{indexPattern: i, within: 5m, with: []}]}]}": "",
		"{name: a, dataTypes: []}": "/ /dataTypes",
		"{name: a}":                "/",
		"{name: a, dataTypes: [b], adversary: both}":                                                                          "/ /adversary",
		"{name: a, dataTypes: [b], impact: {integrity: 4}}":                                                                   "/ /impact /impact/integrity",
		"{name: a, dataTypes: [b], correlation: [{indexPattern: i, within: 5m, with: [{field: f, operator: is, value: 1}]}]}": "/ /correlation/0/with/0/operator",
		"{name: a, dataTypes: [b], severity: high}":                                                                           "/",
		"text": "/",
	} {
		got := strings.Join(against(t, s, []byte(text)), " ")
		if got != want {
			t.Errorf("%s: wrong at %q, want %q", text, got, want)
		}
	}
}

func TestCaseSchema(t *testing.T) {
	s := compileSchema(t, CaseSchema())
	one := func(text string) string { return "cases: [{name: a, raw: b, " + text + "}]" }
	for text, want := range map[string]string{
		"cases: [{name: a, raw: b}]":                         "",
		"cases: []":                                          "/cases",
		"cases: {name: a}":                                   "/cases",
		"cases: [{raw: b}]":                                  "/cases/0",
		"cases: [{name: a}]":                                 "/cases/0",
		"cases: [{name: '', raw: b}]":                        "/cases/0/name",
		"cases: [{name: a, raw: 5}]":                         "/cases/0/raw",
		"cases: [{name: a, log: {raw: b, '@timestamp': c}}]": "",
		"cases: [{name: a, log: {raw: b, timestamp: c}}]":    "/cases/0/log",
		"cases: [{name: a, log: {raw: b}, dataType: c}]":     "/cases/0/dataType",
		"case: []":  "/",
		"- name: a": "/",
		"{keepUnderscores: 'no', cases: [{name: a, raw: b}]}":    "/keepUnderscores",
		"{files: [], cases: [{name: a, raw: b}]}":                "/files",
		"{defaults: {datatype: x}, cases: [{name: a, raw: b}]}":  "/defaults",
		"{plugins: {x: {sets: {}}}, cases: [{name: a, raw: b}]}": "/plugins/x",
		"{plugins: {x: {set: [a]}}, cases: [{name: a, raw: b}]}": "/plugins/x/set",
		"{plugins: {x: {set: {}}}, cases: [{name: a, raw: b}]}":  "",
		one("plugins: {x: {error: y, set: {a: b}}}"):             "/cases/0/plugins/x/set",
		one("field: {}"): "/cases/0",
		"cases: [{name: a, events: [{raw: b, times: 3, every: 5s}, {event: {dataType: x, origin: {port: 22}}, after: 1m}], alerts: [{rule: r, count: 1, fields: {severity: high, adversary.ip: x}}]}]": "",
		"cases: [{name: a, events: []}]":                                                     "/cases/0/events",
		"cases: [{name: a, events: [{raw: b, event: {}}]}]":                                  "/cases/0/events/0",
		"cases: [{name: a, events: [{raw: b, times: 0}]}]":                                   "/cases/0/events/0/times",
		"cases: [{name: a, events: [{raw: b}], fields: {action: x}}]":                        "/cases/0/fields",
		one("alerts: [{count: 1}]"):                                                          "/cases/0/alerts/0",
		one("alerts: [{rule: r, count: 0, fields: {severity: high}}]"):                       "/cases/0/alerts/0/fields",
		one("alerts: [{rule: r, fields: {adversary.port: x}}]"):                              "/cases/0/alerts/0/fields/adversary.port",
		"{rules: [], cases: [{name: a, raw: b}]}":                                            "/rules",
		one("fields: {origin.ip: 192.0.2.1, log.x: [5, null]}"):                              "",
		one("fields: {origin.ipp: x}"):                                                       "/cases/0/fields",
		one("fields: {src: x}"):                                                              "/cases/0/fields",
		one("fields: {errors: [x]}"):                                                         "/cases/0/fields",
		one("fields: {origin.port: '22'}"):                                                   "/cases/0/fields/origin.port",
		one("fields: {origin.port: 0}"):                                                      "/cases/0/fields/origin.port",
		one("fields: {origin.packagesSent: '18446744073709551615', target.packagesSent: 5}"): "",
		one("fields: {origin.packagesSent: many}"):                                           "/cases/0/fields/origin.packagesSent",
		one("fields: {origin.user: ''}"):                                                     "/cases/0/fields/origin.user",
		one("fields: {target.disks.0.name: sda, compliance.gdpr.values: [a]}"):               "",
		one("fields: {target: {prot: 1}}"):                                                   "/cases/0/fields/target",
		one("fields: [a]"):                                                                   "/cases/0/fields",
		one("matches: {log.a: x}"):                                                           "",
		one("matches: {log.a: 5}"):                                                           "/cases/0/matches/log.a",
		one("matches: {origin.port: '22'}"):                                                  "",
		one("absent: [log.a]"):                                                               "",
		one("absent: log.a"):                                                                 "/cases/0/absent",
		one("exact: false"):                                                                  "/cases/0/exact",
		one("errors: []"):                                                                    "",
		one("errors: ['']"):                                                                  "/cases/0/errors/0",
		one("dropped: true, fields: {}"):                                                     "/cases/0/fields",
		one("dead: x, errors: [y]"):                                                          "/cases/0/errors",
		one("event: {action: x, origin: {port: 22}}, errors: [y]"):                           "",
		one("event: {origin: {prot: 22}}"):                                                   "/cases/0/event/origin",
		one("event: {}, exact: true"):                                                        "/cases/0/exact",
	} {
		got := strings.Join(against(t, s, []byte(text)), " ")
		if got != want {
			t.Errorf("%s: wrong at %q, want %q", text, got, want)
		}
	}
	// What the reader takes, the schema does.
	for _, pattern := range []string{"testdata/cases/*.txtar", "testdata/casesupdate/*.txtar", "../node/cases/testdata/*.txtar"} {
		archives, err := filepath.Glob(pattern)
		if err != nil || len(archives) == 0 {
			t.Fatal(pattern, err)
		}
		taken := 0
		for _, path := range archives {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range ar.Files {
				var v any
				if !isCases(f.Name) || yaml.Unmarshal(f.Data, &v) != nil {
					continue
				}
				if _, report := ParseCases(f.Name, f.Data); report.Err() != nil {
					continue
				}
				taken++
				if places := against(t, s, f.Data); places != nil {
					t.Errorf("%s: %s: the reader takes what the schema does not, at %s", path, f.Name, places)
				}
			}
		}
		if taken == 0 {
			t.Errorf("%s: the reader takes no file", pattern)
		}
	}
	example, err := os.ReadFile("../docs/examples/sshd_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	if places := against(t, s, example); places != nil {
		t.Errorf("the example of the docs is wrong at %s", places)
	}
}

// TestRealFilesFitTheSchema compares with files that people have.
func TestRealFilesFitTheSchema(t *testing.T) {
	var got []string
	for folder, s := range map[string]*jsonschema.Schema{
		"filters": compileSchema(t, PipelineSchema()),
		"rules":   compileSchema(t, RuleSchema()),
	} {
		root := shared.Dir(t, "configs", folder)
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, place := range against(t, s, data) {
				got = append(got, folder+"/"+e.Name()+" "+place)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	want := []string{ // field_name for fieldName
		"filters/linux.yml /pipeline/0/steps/1/grok/patterns/0",
		"filters/syslog-generic.yml /pipeline/0/steps/0/grok/patterns/0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestSchemaWords shows that every field has words, and no words are about
// nothing.
func TestSchemaWords(t *testing.T) {
	known := map[string]bool{}
	var walk func(m protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if known[string(m.Name())] || m.FullName().Parent() == "google.protobuf" {
			return
		}
		known[string(m.Name())] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			name := string(m.Name()) + "." + f.JSONName()
			known[name] = true
			if words := fieldWords[name]; words.text == "" || !strings.HasSuffix(strings.TrimRight(words.text, `"),*-`), ".") && !strings.Contains(words.text, "xample: ") {
				t.Errorf("%s is not described in a sentence: %q", name, words.text)
			}
			if f.Message() != nil && !f.IsMap() {
				walk(f.Message())
			}
		}
	}
	walk((&pb.Config{}).ProtoReflect().Descriptor())
	walk((&pb.Rule{}).ProtoReflect().Descriptor())
	for name := range fieldWords {
		if !known[name] {
			t.Errorf("there is no field %s", name)
		}
	}
	for name := range messageWords {
		if !known[name] {
			t.Errorf("there is no message %s", name)
		}
	}
}
