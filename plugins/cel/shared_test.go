package cel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/epmesh/epmesh/config"
)

// Every rule that users of the reference engine wrote loads, or is reported.
func TestRealRulesLoad(t *testing.T) {
	dir := filepath.Join(sharedDir(t), "configs", "rules")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no real rules here:", err)
	}
	rules, report := config.LoadRules(dir)
	set, found := compileRules(rules, &config.Set{})
	t.Logf("%d rules, %d of them with searches over %v", set.count, len(set.searches), set.terms)
	if set.count+len(report.Errors())+len(found) < len(rules) || set.count == 0 {
		t.Errorf("%d rules of %d\n%s%s", set.count, len(rules), report, found)
	}
	for _, p := range found {
		if p.Position.Line == 0 {
			t.Errorf("without a place: %s", p)
		}
		t.Log(p)
	}
}

// sharedDir finds the folder with other people's rules, beside the checkout or
// above it.
func sharedDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("EPMESH_SHARED"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "shared", "configs")); err == nil {
			return filepath.Join(dir, "shared")
		}
	}
	t.Skip("no folder shared/configs beside the checkout or above it; EPMESH_SHARED names another")
	return ""
}
