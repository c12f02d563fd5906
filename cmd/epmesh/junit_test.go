package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/node/cases"
)

// What is written can be read again and says it all, whatever the log holds.
func TestJUnit(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": "pipeline: [{dataTypes: [t], steps: [{json: {}}]}]\n",
		"a_test.yml": `defaults: {dataType: t}
cases:
  - {name: passes, raw: '{"a": 1}', fields: {log.a: 1}}
  - name: 'control & <characters>'
    raw: '{"a": "\u0001\u001b]]>\ufffe", "b": 1}'
    fields:
      log.a: "&<\"'>"
      log.b: 2
`,
		"b_test.yml": "cases: [{}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(dir, "a_test.yml"), filepath.Join(dir, "b_test.yml")
	files, _, err := cases.Run(t.Context(), []string{a, b}, cases.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "report.xml")
	if err := writeJUnit(path, files); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if got.Tests != 3 || got.Failures != 1 || got.Errors != 1 || len(got.Suites) != 2 || len(got.Suites[0].Cases) != 2 || len(got.Suites[1].Cases) != 1 {
		t.Fatalf("%s", text)
	}
	passed, failed, broken := got.Suites[0].Cases[0], got.Suites[0].Cases[1], got.Suites[1].Cases[0]
	if passed.Failure != nil || passed.Error != nil || passed.Line != 3 || passed.Time == "" {
		t.Errorf("the case that passes: %+v", passed)
	}
	if failed.Name != "control & <characters>" || failed.File != a || failed.Line != 4 {
		t.Errorf("the case that fails: %+v", failed)
	}
	if f := failed.Failure; f == nil || f.Line != 7 || f.File != a || f.Type != "differs" || !strings.Contains(f.Text, "log.b") || !strings.Contains(f.Text, `\u001b]]>`) || !strings.HasSuffix(f.Message, "(and 1 more)") {
		t.Errorf("its failure: %+v", f)
	}
	if e := broken.Error; e == nil || e.File != b || e.Line != 1 || !strings.Contains(e.Text, "the case has no name") {
		t.Errorf("the file that cannot be run: %+v", e)
	}
	if err := writeJUnit(filepath.Join(dir, "none", "report.xml"), files); err == nil {
		t.Error("wrote into a folder that is not there")
	}
}
