package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a page.
func block(t *testing.T, page, language string) (text string, from, to int) {
	t.Helper()
	open := "\n```" + language + "\n"
	from = strings.Index(page, open)
	if from < 0 {
		t.Fatalf("the page has no block of %s", language)
	}
	from += len(open)
	to = from + strings.Index(page[from:], "```\n")
	return page[from:to], from, to
}

// took is a time that a step took; it is another each time.
var took = regexp.MustCompile(`\b[0-9.]+(ns|µs|ms|s)\b`)

// TestExplainPage: the output that docs/parse.md shows is what comes out.
func TestExplainPage(t *testing.T) {
	const file = "../../docs/parse.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	pipeline, _, _ := block(t, page, "yaml")
	log, _, _ := block(t, page, "json")
	want, from, to := block(t, page, "text")
	dir := parseDir(t, map[string][]byte{"web.yaml": []byte(pipeline)})
	var out bytes.Buffer
	if stderr, err := parse(t, strings.NewReader(log), &out, "--work-dir", dir, "--explain", "--all"); err != nil || stderr != "" {
		t.Fatal(err, stderr)
	}
	if got := out.String(); took.ReplaceAllString(got, "TIME") != took.ReplaceAllString(want, "TIME") {
		if !*update {
			t.Fatalf("docs/parse.md shows something else (-update writes it):\n%s", got)
		}
		if err := os.WriteFile(file, []byte(page[:from]+got+page[to:]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
