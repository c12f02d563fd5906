package lint

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/rogpeppe/go-internal/txtar"
)

// Whatever files hold, they are checked in bounded time, findings lie within
// them, and nothing that a node refuses goes without an error.
func FuzzCheck(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		in := input(ar.Files)
		for _, p := range in.Pipelines {
			f.Add(p.Data, []byte{})
			for _, r := range in.Rules {
				f.Add(p.Data, r.Data)
			}
		}
	}
	f.Add([]byte("pipeline: &p\n  - dataTypes: [a]\n    steps: &s [{json: {}}]\n  - {dataTypes: [a], steps: *s}\n"), []byte("- &r {name: a, dataTypes: [a], where: 'true'}\n- *r\n"))
	f.Fuzz(func(t *testing.T, pipelines, rules []byte) {
		if len(pipelines)+len(rules) > 64<<10 {
			return
		}
		in := Input{Pipelines: []config.Source{{Name: "p.yaml", Data: pipelines}}, Rules: []config.Source{{Name: "r.yml", Data: rules}}}
		start := time.Now()
		report := Check(in, Options{Bundled: []string{"cel"}, Installed: func(string) bool { return false }})
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		silent := bytes.Contains(pipelines, []byte("epmesh:ignore"))
		errors := map[string]bool{}
		for _, p := range report {
			lines := pipelines
			if p.Position.File == "r.yml" {
				lines = rules
			}
			if p.Position.Line > 1+strings.Count(string(lines), "\n")+strings.Count(string(lines), "\r")+strings.Count(string(lines), "\u0085")+
				strings.Count(string(lines), "\u2028")+strings.Count(string(lines), "\u2029") {
				t.Errorf("beyond the end of the file: %s", p)
			}
			if named[p.Rule].Name == "" || p.Message == "" {
				t.Errorf("a finding without a rule or words: %+v", p)
			}
			errors[p.Position.File] = errors[p.Position.File] || p.Severity == config.Error
		}
		set, _ := config.Parse("p.yaml", pipelines)
		if _, problems := pipeline.Compile(set, pipeline.Options{}); len(problems) > 0 && !errors["p.yaml"] && !silent {
			t.Errorf("a node refuses a step, and nothing is found: %s", problems[0])
		}
		if i := slices.IndexFunc(report, func(p config.Problem) bool { return p.Rule == badStep }); i >= 0 {
			t.Errorf("only the node knows what is wrong: %s", report[i])
		}
	})
}

// Files that are made to hurt cost seconds at most.
func TestHostileFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures how long hostile files take")
	}
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	head := "pipeline:\n  - dataTypes: [a]\n    steps:\n"
	for name, text := range map[string]string{
		"many renames":      head + repeat(5000, "      - rename: {from: [log.a%[1]d], to: log.b%[1]d}\n"),
		"many fields":       head + "      - cast: {to: int, fields: [" + repeat(20000, "log.a%d,") + "]}\n" + "      - delete: {fields: [" + repeat(20000, "log.a%d,") + "]}\n",
		"many adds":         head + repeat(2000, "      - add: {function: string, params: {key: log.a, value: x}, where: 'equals(\"log.b\", %d)'}\n"),
		"many data types":   "pipeline:\n" + repeat(1000, "  - {dataTypes: [all, t%d], steps: [json: {source: raw}]}\n"),
		"long alternatives": head + "      - drop:\n          where: |\n            exists(\"x\")" + repeat(900, " || equals(\"log.a\", %d)") + "\n",
		"long conjunctions": head + "      - drop:\n          where: |\n            exists(\"x\")" + repeat(50, " && (equals(\"a%[1]d\", 1) || equals(\"a%[1]d\", 2) && equals(\"a%[1]d\", 3))") + "\n",
		"deep parentheses":  head + "      - drop: {where: '" + strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000) + "'}\n",
		"large expressions": head + repeat(200, "      - grok: {patterns: [{fieldName: log.a%d, pattern: '((a{1,100}){1,100}){1,100}'}]}\n"),
		"patterns in turn":  "patterns:\n" + repeat(2000, "  p%d: '{{.q}}{{.q}}{{.q}}{{.q}}{{.q}}{{.q}}{{.q}}{{.q}}'\n") + "  q: '{{.p1}}{{.p2}}'\n",
		"many comments":     head + repeat(20000, "      # epmesh:ignore no-effect %d\n") + "      - json: {source: raw}\n",
		"an alias bomb":     "plugins:\n  a: &a [x,x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n  e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n  f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n  g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			report := Check(Input{Pipelines: []config.Source{{Name: "p.yaml", Data: []byte(text)}}}, Options{})
			took := time.Since(start)
			t.Logf("%d bytes, %d findings, %s", len(text), len(report), took)
			if took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if len(report) > 2*maxFindings {
				t.Errorf("%d findings", len(report))
			}
		})
	}
}
