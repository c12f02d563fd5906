package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// The examples of the documentation pass, run all their steps, and are what the
// page shows.
func TestExamples(t *testing.T) {
	var stdout bytes.Buffer
	c := testCmd{Files: []string{"../../docs/examples"}, Coverage: true, Timeout: time.Minute}
	if err := c.Run(&app{ctx: t.Context(), stdout: &stdout}); err != nil {
		t.Errorf("%v:\n%s", err, &stdout)
	}
	if !strings.Contains(stdout.String(), " 100%\n") || strings.Contains(stdout.String(), "changes nothing") || strings.Contains(stdout.String(), "note") {
		t.Errorf("not all steps are run:\n%s", &stdout)
	}
	for page, names := range map[string][]string{
		"testing-pipelines.md": {"sshd.yaml", "sshd_test.yml"},
		"writing-rules.md":     {"rules/ssh.yml", "rules_test.yml"},
	} {
		shown, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile("../../docs/examples/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(shown), "```yaml\n"+string(text)+"```\n") {
				t.Errorf("docs/%s does not show %s as it is", page, name)
			}
		}
	}
}
