package config

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every byte of a text's value is found where it stands in the file, whatever
// way the text is written in.
func TestPlaceOffset(t *testing.T) {
	for _, test := range []struct {
		name, yaml, find string
		want             string // line:column
	}{
		{"plain", "a: one two three", "two", "1:8"},
		{"plain, start", "a: one two three", "one", "1:4"},
		{"plain, letters of more bytes", "a: ö two", "two", "1:6"},
		{"single quotes", "a: 'it''s two'", "two", "1:11"},
		{"double quotes", `a: "x\"\t\u00e4\x41 two"`, "two", "1:21"},
		{"literal", "a: |\n  one\n\n   two three\n", "three", "4:8"},
		{"literal, own indent", "a: |2\n    one\n  two\n", "two", "3:3"},
		{"literal, carriage returns", "a: |\r\n  one\r\n  two\r\n", "two", "3:3"},
		{"literal, start", "a: |-\n\n  one\n", "one", "3:3"},
		{"folded", "a: >\n  one\n  two three\n", "three", "3:7"},
		{"plain of more lines", "a: one\n   two\n   three four\n", "four", "3:10"},
		{"plain of more lines, blank between", "a: one\n\n   two three\n", "three", "3:8"},
		{"plain of more lines, start of one", "a: one\n   two\n", "two", "2:4"},
		{"quotes of more lines", "a: 'one\n  two'", "two", "1:4"},
		{"tagged", "a: !!str one two", "two", "1:4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := newSourceText("x.yaml", []byte(test.yaml))
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(test.yaml), &doc); err != nil {
				t.Fatal(err)
			}
			p := text.place(doc.Content[0]).At("a")
			at := p.Offset(strings.Index(p.node.Value, test.find))
			if got := fmt.Sprintf("%d:%d", at.Line, at.Column); got != test.want {
				t.Errorf("%q of %q is at %s, want %s", test.find, p.node.Value, got, test.want)
			}
		})
	}
}

func TestPlaceAt(t *testing.T) {
	set, report := InspectPipelines([]Source{{Name: "x.yaml", Data: []byte(`
pipeline:
  - dataTypes: [a, b]
    steps:
      - grok:
          source: raw
          patterns:
            - {fieldName: log.x, pattern: one}
            - &second
              fieldName: log.y
              pattern: two
            - <<: *second
              fieldName: log.z
      - nonsense: {}
patterns:
  mine: '[0-9]+'
`)}})
	if report.Err() == nil || len(set.Pipelines) != 1 || !set.Pipelines[0].Partial {
		t.Fatalf("%d pipelines, report %s", len(set.Pipelines), report)
	}
	p := set.Pipelines[0]
	for _, test := range []struct {
		at   Place
		want string
	}{
		{p.At("dataTypes", "1"), "x.yaml:3:20"},
		{p.Steps[0].At("source"), "x.yaml:6:19"},
		{p.Steps[0].At("patterns", "0", "pattern"), "x.yaml:8:43"},
		{p.Steps[0].At("patterns", "2", "pattern"), "x.yaml:11:24"},
		{p.Steps[0].At("patterns", "2", "fieldName"), "x.yaml:13:26"},
		{p.Steps[0].At("patterns", "2").Key("fieldName"), "x.yaml:13:15"},
		{p.Steps[0].At("where"), "x.yaml:6:11"}, // not there: the step's settings
		{p.Steps[0].At("patterns", "7"), "x.yaml:8:13"},
		{set.At("patterns", "mine"), "x.yaml:16:9"},
		{set.KeyAt("patterns", "mine"), "x.yaml:16:3"},
	} {
		if got := test.at.String(); got != test.want {
			t.Errorf("at %s, want %s", got, test.want)
		}
	}
	plain, _ := Parse("x.yaml", []byte("pipeline: [{dataTypes: [a], steps: [{json: {source: raw}}]}]"))
	if got := plain.Pipelines[0].Steps[0].At("source").Position; got != plain.Pipelines[0].Steps[0].Position {
		t.Errorf("a node keeps places: %s", got)
	}
}

func TestKindOf(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Kind
	}{
		{"x.yaml", "pipeline: []", PipelineFile},
		{"x.yml", "patterns: {a: b}\nplugins: {}", PipelineFile},
		{"x.yml", "- {name: a, where: b}", RuleFile},
		{"x.yml", "name: a\ndataTypes: [x]", RuleFile},
		{"x.yaml", "work_dir: /x\nplugins: {in_flight: 3}", SettingsYAML},
		{"x.yaml", "pipeline: {keep_underscores: false}", SettingsYAML},
		{"x.yaml", "nats: {}\npipeline: {keep_underscores: false}", SettingsYAML},
		{"a_test.yml", "name: a", CasesFile},
		{"a_test.yaml", "pipeline: []", PipelineFile}, // which a node reads
		{"x.yaml", "hello: world", UnknownFile},
		{"alerts.yml", "groups: [{name: x}]", UnknownFile}, // of Prometheus
		{"ci.yml", "name: x\non: push\nenv: {}\njobs: {}", UnknownFile},
		{"x.yaml", "plugins: {mine: {}}", PipelineFile},
		{"x.yml", "- {name: x, category: y}", RuleFile},
		{"x.yaml", "- one", UnknownFile},
		{"x.yaml", "a: [", UnknownFile},
		{"dir/rules/x.yml", "a: [", RuleFile},
		{"dir/pipeline/sub/x.yaml", "", PipelineFile},
		{"dir/epmesh.yaml", "", SettingsYAML},
	} {
		if got := KindOf(Source{test.name, []byte(test.text)}); got != test.want {
			t.Errorf("%s %q is of kind %d, want %d", test.name, test.text, got, test.want)
		}
	}
}
