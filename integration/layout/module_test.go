package layout

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Every direct dependency is used by code or tests, or is a tool; none is there
// because it might be wanted.
func TestDirectDependenciesAreUsed(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, s := range sources(t) {
		used = append(used, s.imports()...)
	}
	for _, tool := range mod.Tool {
		used = append(used, tool.Path)
	}
	for _, r := range mod.Require {
		if !r.Indirect && !slices.ContainsFunc(used, func(imp string) bool { return imp == r.Path || strings.HasPrefix(imp, r.Path+"/") }) {
			t.Errorf("go.mod requires %s and nothing imports it: go mod tidy", r.Path)
		}
	}
}
