package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are all Markdown files of the project, by their path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // another package's test made it, and took it away
			}
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "workdir") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", name)
		found[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d pages", len(found))
	}
	return found
}

var (
	link   = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	code   = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	notKey = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link between the pages leads somewhere, down to the heading.
func TestLinksLead(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), file))
			}
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if anchor != "" && !anchors(all[target])[anchor] {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], target)
			}
		}
	}
}

// anchors are the names that headings are linked by.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			key := notKey.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			names[strings.ReplaceAll(key, " ", "-")] = true
		}
	}
	return names
}

// Every page of docs is found from its index.
func TestIndexNamesAllPages(t *testing.T) {
	all := pages(t)
	for page := range all {
		dir, name := filepath.Split(page)
		index := dir + "README.md"
		if !strings.HasPrefix(page, "docs/") || name == "README.md" {
			continue
		}
		if !strings.Contains(all[index], "]("+name) {
			t.Errorf("%s does not link to %s", index, name)
		}
	}
}

var metric = regexp.MustCompile(`epmesh_[a-z_]+`)

// The alerting rules ask for metrics that there are.
func TestAlertsAskForKnownMetrics(t *testing.T) {
	rules, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	scaling, err := os.ReadFile("../deploy/prometheus/scaling.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules = append(rules, scaling...)
	known := pages(t)["docs/metrics.md"]
	names := metric.FindAllString(string(rules), -1)
	if len(names) < 10 {
		t.Errorf("only %d metrics in the rules", len(names))
	}
	for _, name := range names {
		if base := strings.TrimSuffix(name, "_bucket"); !strings.Contains(known, "| `"+base+"` |") {
			t.Errorf("the rules ask for %s, which docs/metrics.md does not have", name)
		}
	}
}

// What the containers and the unit run are commands and flags that there are.
func TestDeployUsesKnownFlags(t *testing.T) {
	commands := pages(t)["docs/commands.md"]
	compose, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range regexp.MustCompile(`"(--[a-z-]+)"`).FindAllStringSubmatch(string(compose), -1) {
		if !strings.Contains(commands, "`"+flag[1]) {
			t.Errorf("docker-compose.yml uses %s, which docs/commands.md does not have", flag[1])
		}
	}
}
