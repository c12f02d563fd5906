package cel

import (
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
)

// Every rule that users of the reference engine wrote loads, or is reported.
func TestRealRulesLoad(t *testing.T) {
	dir := shared.Dir(t, "configs", "rules")
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
