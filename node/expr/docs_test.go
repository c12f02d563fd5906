package expr

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	documentBlock = regexp.MustCompile("(?ms)^```json document\n(.*?)^```$")
	exampleRow    = regexp.MustCompile("(?m)^\\| `(.*)` \\| (true|false) \\|$")
)

// TestDocs evaluates the examples of the page about conditions, which has one
// for every function.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/steps/where.md")
	if err != nil {
		t.Fatal(err)
	}
	block := documentBlock.FindStringSubmatch(string(text))
	if block == nil {
		t.Fatal("no document")
	}
	d, err := FromJSON([]byte(block[1]))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, row := range exampleRow.FindAllStringSubmatch(string(text), -1) {
		source := strings.ReplaceAll(row[1], `\|`, "|")
		all += source + "\n"
		p, err := Compile(source, nil)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := p.Eval(d); err != nil || got != (row[2] == "true") {
			t.Errorf("%s: %v, %v; the page says %s", source, got, err, row[2])
		}
	}
	for _, f := range functions {
		if !strings.Contains(all, f.name+"(") {
			t.Errorf("no example of %s", f.name)
		}
		if !regexp.MustCompile("`"+f.name+"[`(]").Match(text) || strings.Count(string(text), f.name) < 2 {
			t.Errorf("%s is not described", f.name)
		}
	}
}
