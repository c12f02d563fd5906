package pattern

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	patternRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\|(.*)\\|(.*)\\|$")
	inCode     = regexp.MustCompile("`([^`]+)`")
)

// TestDocs tries the examples of the page about patterns, which names them all.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/steps/patterns.md")
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, row := range patternRow.FindAllStringSubmatch(string(text), -1) {
		name := row[1]
		described = append(described, name)
		re, err := New(nil).Compile(`^(?:{{.` + name + `}})$`)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(row[2], "`") {
			t.Errorf("%s has no example", name)
		}
		for i, want := range []bool{true, false} {
			for _, m := range inCode.FindAllStringSubmatch(row[2+i], -1) {
				if re.MatchString(m[1]) != want {
					t.Errorf("%s matches %q: %v", name, m[1], !want)
				}
			}
		}
	}
	slices.Sort(described)
	if names := New(nil).Names(); !slices.Equal(names, described) {
		t.Errorf("described are %q, there are %q", described, names)
	}
}
