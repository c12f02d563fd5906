package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/lint"
)

// What the schema of SARIF 2.1.0 requires, and what code hosts want besides.
func TestSARIF(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	report := config.Report{
		{Position: config.Position{File: filepath.Join(here, "dir with space", "a.yaml"), Line: 3, Column: 7}, Severity: config.Error, Rule: "bad-regexp", Message: "no <good>", Hint: "mend it"},
		{Position: config.Position{File: "pipeline/b.yml"}, Severity: config.Warning, Rule: "file-not-read", Message: "not read"},
		{Position: config.Position{File: "./a:b.yaml"}, Severity: config.Warning, Rule: "file-not-read", Message: "not read"},
		{Position: config.Position{File: "/elsewhere/c.yaml", Line: 1, Column: 1}, Severity: config.Note, Rule: "overlapping-pipelines", Message: "both"},
	}
	var b bytes.Buffer
	if err := printSARIF(&b, report); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID      string
						HelpURI string
						Short   struct{ Text string }  `json:"shortDescription"`
						Default struct{ Level string } `json:"defaultConfiguration"`
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine, StartColumn int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.Contains(log.Schema, "sarif-2.1.0") || len(log.Runs) != 1 {
		t.Fatalf("version %q, schema %q, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name == "" || len(run.Tool.Driver.Rules) != len(lint.Rules()) {
		t.Errorf("driver %q with %d rules", run.Tool.Driver.Name, len(run.Tool.Driver.Rules))
	}
	for _, r := range run.Tool.Driver.Rules {
		if r.ID == "" || r.Short.Text == "" || !strings.HasSuffix(r.HelpURI, "#"+r.ID) || r.Default.Level == "" {
			t.Errorf("rule %+v", r)
		}
	}
	wantURI := []string{"dir%20with%20space/a.yaml", "pipeline/b.yml", "./a:b.yaml", "file:///elsewhere/c.yaml"}
	wantLevel := []string{"error", "warning", "warning", "note"}
	if len(run.Results) != len(report) {
		t.Fatalf("%d results", len(run.Results))
	}
	for i, r := range run.Results {
		at := r.Locations[0].PhysicalLocation
		if r.RuleID != report[i].Rule || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level != wantLevel[i] || !strings.HasPrefix(r.Message.Text, report[i].Message) {
			t.Errorf("result %+v", r)
		}
		if at.ArtifactLocation.URI != wantURI[i] {
			t.Errorf("uri %s, want %s", at.ArtifactLocation.URI, wantURI[i])
		}
		if line := report[i].Position.Line; line == 0 && at.Region != nil || line > 0 && (at.Region == nil || at.Region.StartLine != line || at.Region.StartColumn < 1) {
			t.Errorf("region %+v of %+v", at.Region, report[i].Position)
		}
	}
	b.Reset()
	if err := printSARIF(&b, nil); err != nil || !strings.Contains(b.String(), `"results": []`) {
		t.Errorf("without findings: %v, %.80s", err, b.String())
	}
}
