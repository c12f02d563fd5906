package pipeline

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/epmesh/epmesh/config"
)

// The names that steps write lose their underscores where older SDKs are to be
// followed; names within a value, and names that are read, never do.
func TestUnderscore(t *testing.T) {
	configured, report := config.Parse("names.yaml", []byte(`
pipeline:
  - dataTypes: [t]
    steps:
      - json: {}
      - kv: {source: log.pairs, fieldSplit: ' ', valueSplit: '='}
      - xml: {source: log.xml}
      - csv: {source: log.line, headers: [log.h_1, log.h_2]}
      - grok: {source: log.line, patterns: [{fieldName: log.g_1, pattern: '.'}]}
      - add: {function: string, params: {key: log.a_b, value: x}}
      - rename: {from: [log.deep.x_y], to: log.r_s}
      - cast: {fields: [log.deep.n_m], to: string}
`))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	for strip, names := range map[bool][]string{
		false: {"src_ip", "k_v", "x_m.y_z", "h_1", "h_2", "g_1", "a_b", "r_s"},
		true:  {"srcip", "kv", "xm.yz", "h1", "h2", "g1", "ab", "rs"},
	} {
		set, problems := Compile(configured, Options{StripUnderscore: strip})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got := event(t, set, `{"src_ip":"1","pairs":"k_v=1","xml":"<x_m><y_z>1</y_z></x_m>","line":"1,2","deep":{"x_y":1,"n_m":5}}`, nil)
		for _, name := range append(names, "deep.n_m") {
			if !gjson.Get(got, "log."+name).Exists() {
				t.Errorf("strip %v: no log.%s in %s", strip, name, got)
			}
		}
		if n := len(gjson.Get(got, "log").Map()); n != 12 || gjson.Get(got, "log.deep.n_m").String() != "5" {
			t.Errorf("strip %v: %d fields in %s", strip, n, got)
		}
	}
}

// However its path is written, raw stays.
func TestRawStays(t *testing.T) {
	for _, step := range []string{
		`delete: {fields: ['\raw']}`, `delete: {fields: [raw]}`, `rename: {from: ['r\aw'], to: log.x}`,
		`cast: {fields: ['\raw'], to: int}`, `trim: {function: prefix, substring: t, fields: ['ra\w']}`,
	} {
		set, _ := build(t, "pipeline: [{dataTypes: [t], steps: ["+step+"]}]")
		if got := event(t, set, "text", nil); gjson.Get(got, "raw").String() != "text" {
			t.Errorf("%s: %s", step, got)
		}
	}
}
