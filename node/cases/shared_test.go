package cases

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
)

// recording is a recording of the reference engine: lines, and the fields of
// their events.
func recording(t testing.TB) (dir string, lines map[string]string, fields map[string]map[string]any) {
	dir = shared.Dir(t, "conformance", "cisco-asa")
	var raw struct{ Cases map[string]string }
	var expected struct {
		Cases map[string]struct{ Fields map[string]any }
	}
	for name, into := range map[string]any{"raw.json": &raw, "expected.json": &expected} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fields = map[string]map[string]any{}
	for name, c := range expected.Cases {
		fields[name] = c.Fields
	}
	return dir, raw.Cases, fields
}

// recorded writes a case file of the recording; want is what a case says
// besides its name and line.
func recorded(t testing.TB, want func(name string) string) string {
	dir, lines, fields := recording(t)
	// The plugin's answers, as its steps name source and destination: origin.ip
	// and origin.geolocation, log.localIp and log.localIpGeolocation.
	lookup := map[string]map[string]any{}
	for _, f := range fields {
		for path, v := range f {
			source, key, ok := strings.Cut(path, ".geolocation")
			if source += ".ip"; !ok {
				if source, key, ok = strings.Cut(path, "Geolocation"); !ok {
					continue
				}
			}
			ip := f[source].(string)
			if lookup[ip] == nil {
				lookup[ip] = map[string]any{}
			}
			if key != "" {
				lookup[ip][key[1:]] = v
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "files: [%q, %q]\n", filepath.Join(dir, "filter.yaml"), filepath.Join(dir, "patterns.yaml"))
	fmt.Fprintf(&b, "defaults: {dataType: firewall-cisco-asa, dataSource: fixture-asa}\n")
	fmt.Fprintf(&b, "plugins: {com.utmstack.geolocation: {lookup: %s}}\ncases:\n", show(lookup))
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "  - name: %s\n    raw: %s\n%s", show(name), show(lines[name]), want(name))
	}
	path := filepath.Join(t.TempDir(), "asa_test.yml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What the reference engine gave, written as cases, passes; and cases without
// wants are given what it gave.
func TestRecording(t *testing.T) {
	_, _, fields := recording(t)
	path := recorded(t, func(name string) string { return "    exact: true\n    fields: " + show(fields[name]) + "\n" })
	start := time.Now()
	files, coverage, err := Run(t.Context(), []string{path}, Options{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &files[0]
	if f.Problems.Err() != nil || len(f.Results) != 46 || f.Failed() > 0 {
		t.Errorf("%s%d of %d cases failed", f.Problems, f.Failed(), len(f.Results))
	}
	for _, r := range f.Results {
		if !r.Passed() {
			t.Errorf("%s:\n%s", r.Case.Name, strings.Join(r.Lines(), "\n"))
		}
	}
	t.Logf("%d cases in %s, %d%% of %d steps run", len(f.Results), time.Since(start), coverage.Percent(), coverage.Steps)

	path = recorded(t, func(string) string { return "" })
	if files, _, err = Run(t.Context(), []string{path}, Options{}); err != nil {
		t.Fatal(err)
	}
	text, changed, err := files[0].Update()
	if err != nil || changed != 46 {
		t.Fatalf("%d cases updated: %v", changed, err)
	}
	again, report := config.ParseCases(path, text)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range again.Cases {
		if len(c.Want.Fields) != len(fields[c.Name]) {
			t.Errorf("%s was given %d fields, the reference gave %d", c.Name, len(c.Want.Fields), len(fields[c.Name]))
		}
		for path, want := range fields[c.Name] {
			if got := c.Want.Fields[path]; !config.SameValue(got, want) {
				t.Errorf("%s was given %s = %s, the reference gave %s", c.Name, path, show(got), show(want))
			}
		}
	}
}

// BenchmarkRun is a case file of 46 cases with a filter of 545 conditions,
// loading and compiling included.
func BenchmarkRun(b *testing.B) {
	path := recorded(b, func(string) string { return "    exact: true\n" })
	for b.Loop() {
		files, _, err := Run(b.Context(), []string{path}, Options{})
		if err != nil || len(files[0].Results) != 46 {
			b.Fatal(err)
		}
	}
}
