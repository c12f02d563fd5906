package layout

import (
	"go/ast"
	"testing"
)

// maxLines is where a file should have become two.
const maxLines = 450

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > maxLines && !s.test() && !s.generated() {
			t.Errorf("%s has %d lines, more than %d: what is the second noun in it?", s.path, s.lines, maxLines)
		}
	}
}

// sleeps are the calls of time.Sleep in tests that do not stand in for
// synchronisation, by file, with their number and the reason.
var sleeps = map[string]struct {
	n      int
	reason string
}{
	"bridge/leasemodel_test.go":    {3, "in a synctest bubble"},
	"config/watch_test.go":         {2, "in a synctest bubble, where it lets the bubble's time pass"},
	"node/plugin/deadline_test.go": {1, "in a synctest bubble"},
	"node/patience/clock_test.go":  {1, "in a synctest bubble, whose time it is about"},
	"plugins/helpers_test.go":      {1, "in a synctest bubble"},
	"node/plugin/roles_test.go":    {1, "another process looks, with a pause, until its parent has ended"},
	"node/helpers_test.go":         {1, "the pause of a loop that waits for a condition with a deadline"},
}

func TestNoSleepInTests(t *testing.T) {
	found := map[string]int{}
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok || call.Sel.Name != "Sleep" {
				return true
			}
			if pkg, ok := call.X.(*ast.Ident); !ok || pkg.Name != "time" {
				return true
			}
			found[s.path]++
			if found[s.path] > sleeps[s.path].n {
				t.Errorf("%s sleeps: wait for what the test is about, or use testing/synctest", at(call))
			}
			return true
		})
	}
	for path, allowed := range sleeps {
		if found[path] < allowed.n {
			t.Errorf("%s sleeps %d times and may %d times: take it off the list", path, found[path], allowed.n)
		}
	}
}
