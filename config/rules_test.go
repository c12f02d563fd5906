package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseRules(t *testing.T) {
	rules, report := ParseRules("a.yml", []byte(`
- name: first
  dataTypes: [sshd]
  impact: {confidentiality: 3}
  where: equals("action", "login")
- name: second
  dataTypes: [sshd]
  where: true
  adversary: sideways
- dataTypes: [sshd]
  where: exists("log.x")
- name: fourth
  dataTypes: [sshd]
  wehre: exists("log.x")
  where: |
    exists("log.x")
  correlation:
    - indexPattern: v11-log-*
      with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}]
      within: 5m
      count: 3
`))
	if len(rules) != 2 || rules[0].Proto.Name != "first" || rules[1].Proto.Name != "fourth" {
		t.Fatalf("rules: %v\n%s", rules, report)
	}
	if at := rules[1].Position.String(); at != "a.yml:12:3" {
		t.Errorf("the fourth rule stands at %s", at)
	}
	if n := rules[1].Proto.Correlation[0].Count; n != 3 {
		t.Errorf("count is %d", n)
	}
	text := report.String()
	for _, want := range []string{
		"a.yml:8:10: error: where", // a boolean is no text
		`adversary is "sideways"`,
		"a.yml:10:3: error: the rule has no name",
		`a.yml:14:3: warning: `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Of a key that is there and cannot be read nothing is said but that.
func TestRuleMistakesAreToldOnce(t *testing.T) {
	for text, want := range map[string]string{
		"{name: 5, dataTypes: x, where: true}": "a.yml:1:8: error: name: expected a text, found a number; put it in quotes\n" +
			"a.yml:1:22: error: dataTypes: expected a list, found a text; begin each item with \"- \"\n" +
			"a.yml:1:32: error: where: expected a text, found true or false; put it in quotes",
		"- hello": "a.yml:1:3: error: expected a mapping, found a text; known keys: ",
	} {
		_, report := ParseRules("a.yml", []byte(text))
		if got := report.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") > strings.Count(want, "\n")+1 {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestLoadRules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10.yml":    "{name: ten, dataTypes: [a], where: 'true'}",
		"sub/2.yml": "{name: two, dataTypes: [a], where: 'true'}",
		"bad.yml":   "name: [",
		// Cases for epmesh test, and rules that are taken for some.
		"two_test.yml":  "cases: [{name: a, raw: b}]",
		"port_test.yml": "{name: port, dataTypes: [a], where: 'true'}",
		"notes.txt":     "no rule",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rules, report := LoadRules(dir)
	if len(rules) != 2 || rules[0].Proto.Name != "two" || rules[1].Proto.Name != "ten" {
		t.Errorf("rules: %v", rules)
	}
	if len(report.Errors()) != 1 || !strings.Contains(report.Errors()[0].Position.File, "bad.yml") {
		t.Errorf("report:\n%s", report)
	}
	if w := report.Warnings(); len(w) != 1 || !strings.HasSuffix(w[0].Position.File, "port_test.yml") || w[0].Rule != RuleFileNotRead {
		t.Errorf("warnings:\n%s", w)
	}
	if rules, report := LoadRules(filepath.Join(dir, "none")); len(rules)+len(report) != 0 {
		t.Errorf("a folder that is not there: %v %s", rules, report)
	}
}
