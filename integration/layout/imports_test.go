package layout

import (
	"strings"
	"testing"
)

// ours says what of the project each room may import. The longest room that
// holds a package counts. A package may always import what lies in its own room.
// Tests may besides import what stands in testsToo.
var ours = map[string][]string{
	"proto":  {},
	"config": {"proto"},
	"bridge": {"proto"},

	"node":                   {"bridge", "config", "proto", "node"},
	"node/engine":            {"bridge", "node/telemetry", "node/wire"},
	"node/stage":             {"bridge", "node/expr", "node/pipeline", "node/plugin", "node/wire", "proto"},
	"node/plugin":            {"node/wire", "proto"},
	"node/plugin/plugintest": {"node/plugin", "plugins", "proto"},
	"node/offline":           {"config", "node/pipeline", "node/plugin", "node/wire", "node/workdir", "proto"},
	"node/workdir":           {},
	"node/pipeline":          {"config", "node/expr", "node/patience", "node/pattern", "node/tree", "proto"},
	"node/cases":             {"config", "node/pipeline", "proto"},
	"node/lint":              {"config", "node/expr", "node/pattern", "node/pipeline", "node/tree", "proto"},
	"node/expr":              {"node/pattern", "node/tree", "proto"},
	"node/wire":              {"proto"},
	"node/tree":              {},
	"node/pattern":           {"node/patience"},
	"node/patience":          {},
	"node/telemetry":         {},
	"node/console":           {},
	"plugins":                {"config", "proto", "node/expr", "node/tree", "node/wire"},
	"plugins/incidents":      {"bridge", "plugins", "proto"}, // whose state is in the streams' server
	// Whose instances ask each other over the streams' server.
	"plugins/cel":      {"bridge", "config", "node/expr", "node/tree", "node/wire", "plugins", "proto"},
	"plugins/internal": {"proto"},
	// What `epmesh analyze` does; it reads lines as `epmesh parse` does.
	"plugins/cel/replay": {"config", "node/offline", "node/wire", "plugins", "proto"},

	"cmd":         {"bridge", "config", "node", "plugins", "proto"},
	"integration": {"bridge", "config", "node", "plugins", "proto"},
	// All tests may import these.
	"integration/shared":    {"proto"},
	"integration/shortdir":  {},
	"integration/logbuffer": {},
}

var testsToo = map[string][]string{
	"node":        {"plugins"}, // the kit is how a node's tests come by real plugins
	"node/engine": {"proto"},
	"node/stage":  {"config", "plugins"},
	"node/plugin": {"plugins"},
	"node/cases":  {"plugins"}, // which runs the rules of cases
}

func TestImportsOfOurs(t *testing.T) {
	for _, s := range sources(t) {
		room := roomOf(s.dir)
		if room == "" {
			t.Errorf("%s: the folder %s is in no room of the house: give it one in ours", s.path, s.dir)
			continue
		}
		allowed := append([]string{room}, ours[room]...)
		if s.test() {
			allowed = append(allowed, "integration/shared", "integration/shortdir", "integration/logbuffer")
			allowed = append(allowed, testsToo[room]...)
		}
		for _, imp := range s.imports() {
			dir, ok := strings.CutPrefix(imp, module+"/")
			if ok && !within(dir, allowed...) {
				t.Errorf("%s imports %s, which %s may not", s.path, dir, room)
			}
		}
	}
}

func roomOf(dir string) string {
	longest := ""
	for room := range ours {
		if within(dir, room) && len(room) > len(longest) {
			longest = room
		}
	}
	return longest
}

// theirs says who alone may import a library: code, and tests besides.
var theirs = []struct {
	library     string // an import path or the beginning of one
	code, tests []string
}{
	{library: "github.com/nats-io/", code: []string{"bridge"}, tests: []string{"integration"}},
	{library: "go.yaml.in/", code: []string{"config"}},
	{library: "cel.dev/", code: []string{"node/expr"}, tests: []string{"plugins/cel"}}, // to be measured against
	{library: "github.com/prometheus/", code: []string{"node/telemetry"}},
	{library: "github.com/alecthomas/kong", code: []string{"cmd"}},
	{library: "github.com/leodido/", code: []string{"plugins/syslog"}},
	{library: "github.com/emersion/", code: []string{"plugins/email"}, tests: []string{"integration"}},
	{library: "github.com/bufbuild/", code: []string{"proto/protogen"}},
	{library: "github.com/santhosh-tekuri/", tests: []string{"config"}},
	{library: "github.com/fsnotify/", code: []string{"config", "node/plugin", "plugins/file"}},
	{library: "google.golang.org/grpc", code: []string{"proto", "node/engine", "node/plugin", "node/wire", "plugins"}, tests: []string{"node", "integration"}},
}

func TestImportsOfTheirs(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports() {
			for _, rule := range theirs {
				if !strings.HasPrefix(imp, rule.library) || within(s.dir, rule.code...) {
					continue
				}
				if !s.test() || !within(s.dir, rule.tests...) {
					t.Errorf("%s imports %s, which only %s may", s.path, imp, strings.Join(rule.code, ", "))
				}
			}
		}
	}
}

// A name that somebody wants from the SDK comes from the kit: both in one
// program would register the contract twice.
func TestOfficialSDKIsNotImported(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports() {
			if strings.HasPrefix(imp, "github.com/threatwinds/") {
				t.Errorf("%s imports %s", s.path, imp)
			}
		}
	}
}
