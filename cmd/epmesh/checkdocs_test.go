package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/lint"
)

// withoutExample are rules that no short text raises.
var withoutExample = []string{"bad-step", config.RuleTooMany}

var codeBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestCheckDocs: docs/check.md explains every rule, its first example raises the
// rule, and its second raises nothing that would fail.
func TestCheckDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		sections[name] = body
	}
	for _, r := range lint.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			body, ok := sections[r.Name]
			delete(sections, r.Name)
			severity := r.Severity.String()
			want := fmt.Sprintf("\n*%s:* %s.\n", strings.ToUpper(severity[:1])+severity[1:], r.About)
			if !ok || !strings.Contains(body, want) {
				t.Fatalf("docs/check.md has no section ### %s with %q", r.Name, want)
			}
			blocks := codeBlock.FindAllStringSubmatch(body, -1)
			if slices.Contains(withoutExample, r.Name) {
				return
			}
			if len(blocks) != 2 {
				t.Fatalf("%d examples, want a bad and a good one", len(blocks))
			}
			bad, good := checkExample(t, blocks[0][1]), checkExample(t, blocks[1][1])
			if !slices.ContainsFunc(bad, func(p config.Problem) bool { return p.Rule == r.Name && p.Position.File != "" }) {
				t.Errorf("the bad example does not raise it, but:\n%s", bad)
			}
			for _, p := range good {
				if p.Rule == r.Name || p.Severity == config.Error {
					t.Errorf("the good example raises %s: %s", p.Rule, p)
				}
			}
		})
	}
	for name := range sections {
		t.Errorf("docs/check.md explains %s, which is no rule", name)
	}
}

var fileHeader = regexp.MustCompile(`(?m)^# ([a-z_/0-9-]+\.ya?ml)\n`)

// checkExample lays an example down, one that names files as a work dir, and
// checks it.
func checkExample(t *testing.T, text string) config.Report {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{}
	if names := fileHeader.FindAllStringSubmatchIndex(text, -1); names != nil {
		if err := os.MkdirAll(filepath.Join(dir, "pipeline"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i, m := range names {
			end := len(text)
			if i+1 < len(names) {
				end = names[i+1][0]
			}
			files[text[m[2]:m[3]]] = text[m[1]:end]
		}
	} else {
		if strings.HasPrefix(text, "- ") && !strings.Contains(text, "dataTypes") {
			text = "pipeline:\n  - dataTypes: [example]\n    steps:\n      " + strings.ReplaceAll(text, "\n", "\n      ")
		}
		files["example.yaml"] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var c checked
	path := dir
	if _, alone := files["example.yaml"]; alone {
		path = filepath.Join(dir, "example.yaml")
	}
	if err := c.take(path); err != nil {
		t.Fatal(err)
	}
	return c.check(nil)
}
