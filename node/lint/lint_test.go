package lint

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// input sorts the files of an archive by what they are for.
func input(files []txtar.File) Input {
	var in Input
	for _, f := range files {
		s := config.Source{Name: f.Name, Data: f.Data}
		switch config.KindOf(s) {
		case config.PipelineFile:
			in.Pipelines = append(in.Pipelines, s)
		case config.RuleFile:
			in.Rules = append(in.Rules, s)
		}
	}
	return in
}

// TestGolden checks the files of testdata/*.txtar and compares with "want".
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool {
				if f.Name == "want" {
					want = string(f.Data)
				}
				return f.Name == "want"
			})
			var b strings.Builder
			for _, p := range Check(input(ar.Files), Options{Bundled: []string{"cel", "notify"}}) {
				fmt.Fprintf(&b, "%s [%s]\n", p, p.Rule)
			}
			if *update {
				ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(b.String())})
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, b.String()); diff != "" {
				t.Errorf("differs from the golden file (-want +got), -update writes it anew:\n%s", diff)
			}
		})
	}
}

// Every rule's name is one that can be written in a comment, and is there once.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.Name] || r.About == "" || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("rule %+v", r)
		}
		seen[r.Name] = true
	}
}

// The real files are not part of the project. What is found in them was looked
// at, finding by finding: each is a mistake.
func TestRealFiles(t *testing.T) {
	var in Input
	root := shared.Dir(t, "configs")
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".yml" {
			return err
		}
		f, err := config.ReadSource(path)
		if err != nil {
			return err
		}
		f.Name, _ = filepath.Rel(root, path)
		switch config.KindOf(f) {
		case config.PipelineFile:
			in.Pipelines = append(in.Pipelines, f)
		case config.RuleFile:
			in.Rules = append(in.Rules, f)
		default:
			t.Errorf("%s is of no kind", f.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Pipelines) != 11 || len(in.Rules) != 100 {
		t.Errorf("%d pipeline files, %d rule files", len(in.Pipelines), len(in.Rules))
	}
	start := time.Now()
	report := Check(in, Options{})
	took := time.Since(start)
	t.Logf("%d files in %s", len(in.Pipelines)+len(in.Rules), took)
	got := map[string]int{}
	at := map[string]bool{}
	for _, p := range report {
		got[p.Rule]++
		at[fmt.Sprintf("%s:%d %s", p.Position.File, p.Position.Line, p.Rule)] = true
	}
	want := map[string]int{
		"bad-expression": 1, "bad-layout": 4, "bad-regexp": 8, "deleted-field": 10, "duplicate-value": 3, "misspelt-field": 1,
		"never-matches": 5, "no-effect": 2, "path-not-quoted": 2, "renamed-to-itself": 4, "repeated-field": 1, "unguarded-value": 25,
		"unknown-data-type": 25, "unknown-field": 59, "unknown-key": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings by rule (-want +got):\n%s", diff)
	}
	// Those that were found by eye before there was a linter.
	for _, place := range []string{
		"filters/linux/linux.yml:25 unknown-key",
		"filters/syslog/syslog-generic.yml:9 unknown-key",
		"filters/filebeat/apache_module.yml:204 bad-layout",
		"filters/fortinet/fortinet.yml:50 never-matches",
		"filters/github/github.yml:203 renamed-to-itself",
		"filters/windows/windows-events.yml:95 deleted-field",
		"rules/cisco/meraki/advanced_malware_protection_alerts.yml:37 unknown-field",
		"rules/fortinet/fortiweb/fortiweb_webshell_upload.yml:28 bad-expression",
		"rules/netflow/data_exfiltration_indicators.yml:27 path-not-quoted",
		"rules/netflow/netflow_icmp_tunnel.yml:30 deleted-field",
		"rules/windows/kerberoasting_detection.yml:39 duplicate-value",
		"rules/windows/powershell_profiles.yml:19 bad-regexp",
		"rules/windows/ransom_note_creation.yml:18 misspelt-field",
	} {
		if !at[place] {
			t.Errorf("nothing found at %s", place)
		}
	}
}

// The large filter that the recordings were made with has no mistakes.
func TestConformanceFilter(t *testing.T) {
	dir := shared.Dir(t, "conformance", "cisco-asa")
	files, _ := config.PipelineFiles(dir)
	for _, p := range Check(Input{Pipelines: files}, Options{}) {
		t.Error(p)
	}
}
