package pipeline

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/epmesh/epmesh/integration/shared"
)

// recorded says, for each statement of the contract's semantics that is marked
// as seen in recorded results, what shows that we do the same: cases of
// testdata (file/case) and tests (folder.TestName).
//
// A statement is named by its section, by the step or the number of its line
// there, and by its number among the marked ones of that line.
var recorded = map[string][]string{
	"2 3 1": {"node/plugin.TestClasses"}, // EOF
	"2 3 2": {"node/plugin.TestClasses"}, // empty answers
	"2 4 1": {"node/plugin.TestProcessLife"},

	"3 1 1": {"dynamic/called", "paths/all", "node/pipeline.TestDynamic", "node/tree.TestLikeSJSON", "node/tree.TestLookupLikeGJSON"},
	"3 3 1": {"where/all", "order/valid", "order/broken", "drop/broken"},
	"3 4 1": {"order/broken", "drop/broken", "source/missing", "node/pipeline.TestProblems", "node/pipeline.TestManyErrors"},
	"3 5 1": {"add/all", "node/tree.TestSet"},
	"3 6 1": {"json/names", "paths/all", "paths/dotted", "grok/syslog", "rename/two", "node/pipeline.TestUnderscore"},

	"4 grok 1": {
		"grok/syslog", // trimmed between patterns and at the ends, a discarded match, a repeated name, cleaned names
		"grok/ipv6",   // alternatives, of which the first that fits counts
		"grok/lines",  // a point matches no newline
		"grok/alternative", "grok/between",
		"grok/incomplete", "grok/blank", // all or nothing, and no error
		"grok/spaced", "space/grok", "source/missing", "node/pipeline.TestMatcherRandom",
	},
	"4 grok 2":     {"grok/spaced", "grok/alternative"},
	"4 json 1":     {"json/types", "json/names", "json/repeated", "json/empty", "json/array", "json/broken", "source/missing", "source/nested", "source/number", "numbers/all"},
	"4 kv 1":       {"kv/pairs", "kv/nothing", "space/kv", "source/missing"},
	"4 csv 1":      {"csv/plain", "csv/few", "csv/many"},
	"4 rename 1":   {"rename/one", "rename/two", "numbers/all", "text/order", "text/scalars", "text/array", "paths/all"},
	"4 cast 1":     {"cast/int", "cast/float", "cast/string", "cast/bool", "cast/list", "cast/words", "cast/whole", "numbers/all"},
	"4 trim 1":     {"trim/all", "space/kv", "text/order", "text/scalars"},
	"4 add 1":      {"add/all"},
	"4 reformat 1": {"reformat/good", "reformat/bad"},

	"5 1 1": {"envelope/set", "envelope/wrong", "numbers/bounds", "node/pipeline.TestEventLikeProtoJSON", "node/pipeline.TestUndecodable", "node/pipeline.TestEventDefaults"},
	"5 2 1": {"envelope/set", "envelope/zero", "node/pipeline.TestEventDefaults"},
	"5 2 2": {"envelope/zero"},
	"5 3 1": {"envelope/zero", "csv/quoted", "node/pipeline.TestEventLikeProtoJSON"},

	"7 4 1": {"plugins/cel.TestHistoryAndAlert", "plugins/cel.TestAdversaryTarget"},
}

// elsewhere are the statements about what the project does not have yet.
var elsewhere = map[string]string{
	"7 5 1": "a rule that keeps failing is not disabled yet",
}

// TestRecorded shows that every such statement has its cases, and that they are
// there.
func TestRecorded(t *testing.T) {
	for name, cases := range recorded {
		for _, c := range cases {
			if !shown(t, c) {
				t.Errorf("%s: there is no %s", name, c)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(shared.Dir(t, "contract"), "semantics.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range statements(string(text)) {
		found[name] = true
		if len(recorded[name]) == 0 && elsewhere[name] == "" {
			t.Errorf("nothing shows statement %s of the semantics", name)
		}
	}
	for name := range recorded {
		if !found[name] {
			t.Errorf("the semantics have no statement %s", name)
		}
	}
}

var (
	boldName = regexp.MustCompile(`^- \*\*(\w+)\*\*`)
	markers  = regexp.MustCompile(`\[(rec|sdk|doc|guess)(/\w+)?\]`)
)

// statements names the marked statements of the semantics.
func statements(text string) []string {
	var names []string
	section, line := "", 0
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, "## "); ok {
			section, _, _ = strings.Cut(rest, ".")
			line = 0
		}
		if !strings.HasPrefix(l, "- ") {
			continue
		}
		line++
		key := section + " " + strconv.Itoa(line)
		if m := boldName.FindStringSubmatch(l); m != nil {
			key = section + " " + m[1]
		}
		n := 0
		for _, m := range markers.FindAllString(l, -1) {
			if strings.Contains(m, "rec") {
				n++
				names = append(names, key+" "+strconv.Itoa(n))
			}
		}
	}
	return names
}

// shown reports whether a case or test exists.
func shown(t *testing.T, name string) bool {
	if dir, test, ok := strings.Cut(name, ".Test"); ok {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "\nfunc Test"+test+"(") {
				return true
			}
		}
		return false
	}
	file, c, _ := strings.Cut(name, "/")
	archive, err := txtar.ParseFile(filepath.Join("testdata", file+".txtar"))
	if err != nil {
		t.Error(err)
		return false
	}
	for _, f := range archive.Files {
		if f.Name == c+".event" {
			return true
		}
	}
	return false
}
