package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/google/go-cmp/cmp"
)

func TestLoadGolden(t *testing.T) {
	golden(t, "testdata/set/*.txtar", func(_ *testing.T, dir string) string {
		set, report := Load(filepath.Join(dir, "pipeline"))
		return report.String() + "\n" + describe(set)
	})
}

// describe is a set as text.
func describe(s *Set) string {
	var b strings.Builder
	for _, p := range s.Pipelines {
		fmt.Fprintf(&b, "pipeline %s %v\n", p.Position, p.DataTypes)
		for _, step := range p.Steps {
			fmt.Fprintf(&b, "  %s %d:%d %v\n", step.Kind, step.Position.Line, step.Position.Column, compact(step.Proto))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Patterns)) {
		fmt.Fprintf(&b, "pattern %s %q\n", name, s.Patterns[name])
	}
	for _, t := range s.Tenants {
		fmt.Fprintf(&b, "tenant %v\n", compact(t))
	}
	if len(s.DisabledRules) > 0 {
		fmt.Fprintf(&b, "disabled %d\n", s.DisabledRules)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Plugins)) {
		fmt.Fprintf(&b, "plugin %s %v\n", name, s.Plugins[name])
	}
	for _, stage := range slices.Sorted(maps.Keys(s.Order)) {
		fmt.Fprintf(&b, "order %s %v\n", stage, s.Order[stage])
	}
	for _, p := range s.Mesh.Place {
		fmt.Fprintf(&b, "place %s stage=%q plugin=%q dataType=%q tenant=%q %v\n", p.Position, p.Stage, p.Plugin, p.DataType, p.Tenant, p.Groups)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Mesh.Affinity)) {
		a := s.Mesh.Affinity[name]
		fmt.Fprintf(&b, "affinity %s %s %q %d\n", name, a.Position, a.Key, a.Partitions)
	}
	if len(s.Mesh.Singletons) > 0 {
		fmt.Fprintf(&b, "singletons %v\n", s.Mesh.Singletons)
	}
	return b.String()
}

func TestLoadWithoutFolder(t *testing.T) {
	set, report := Load(filepath.Join(t.TempDir(), "pipeline"))
	if report.Err() != nil || len(report) != 1 || !strings.Contains(report.String(), "no pipeline folder") {
		t.Errorf("report = %v, want one warning of the folder", report)
	}
	if set == nil || len(set.Pipelines) != 0 || set.Patterns == nil {
		t.Errorf("set = %+v, want an empty one", set)
	}
}

// What a folder can hold besides plain files.
func TestLoadOddFiles(t *testing.T) {
	dir := t.TempDir()
	pipeline := "pipeline: [{dataTypes: [a], steps: [{json: {}}]}]\n"
	put(t, filepath.Join(dir, "a.yaml"), pipeline)
	put(t, filepath.Join(dir, "b.yml"), pipeline)
	put(t, filepath.Join(dir, "c.YAML"), pipeline)
	put(t, filepath.Join(dir, "c_test.yml"), pipeline) // is no mistake
	put(t, filepath.Join(dir, "folder.yaml", "in.yaml"), pipeline)
	put(t, filepath.Join(dir, "notes.txt"), "not YAML: [")
	put(t, filepath.Join(dir, "..data", "a.yaml"), pipeline)
	elsewhere := t.TempDir()
	put(t, filepath.Join(elsewhere, "far.yaml"), pipeline)
	for link, target := range map[string]string{
		"loop.yaml":    "loop.yaml",
		".#a.yaml":     "somebody@host.1234",
		"linked":       elsewhere,
		"mounted.yaml": filepath.Join("..data", "a.yaml"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, report := Load(dir)
	var got []string
	for _, p := range report {
		if p.Severity != Warning {
			t.Errorf("%s: want a warning", p)
		}
		rel, _ := filepath.Rel(dir, p.Position.File)
		got = append(got, rel)
	}
	slices.Sort(got)
	want := []string{".#a.yaml", "b.yml", "c.YAML", "folder.yaml", "linked", "loop.yaml", "mounted.yaml", "pipe.yaml"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warned of (-want +got):\n%s%s", diff, report)
	}
	if len(set.Pipelines) != 3 {
		t.Errorf("%d pipelines, want those of a.yaml, ..data/a.yaml and folder.yaml/in.yaml", len(set.Pipelines))
	}
}

func TestLoadFollowsTheFolderItself(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "real", "a.yaml"), "patterns: {x: z}")
	if err := os.Symlink("real", filepath.Join(dir, "pipeline")); err != nil {
		t.Fatal(err)
	}
	set, report := Load(filepath.Join(dir, "pipeline"))
	if len(report) != 0 || set.Patterns["x"] != "z" {
		t.Errorf("patterns = %v, report = %v", set.Patterns, report)
	}
}

func TestLoadUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), "patterns: {x: z}")
	os.Chmod(filepath.Join(dir, "a.yaml"), 0)
	if _, report := Load(dir); report.Err() == nil {
		t.Error("no error for a file that cannot be read")
	}
}

func TestNatural(t *testing.T) {
	// Each comes before the next.
	order := []string{
		"0.yaml", "1.yaml", "1a.yaml", "2.yaml", "010.yaml", "12.yaml", "701.yaml", "1000001.yaml",
		"99999999999999999999999.yaml", "Z.yaml", "a.yaml", "b1.yaml", "b.yaml", "filter2.yaml", "filter10.yaml",
	}
	for i, a := range order {
		for j, b := range order {
			if got := natural(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("natural(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestSetHelpers(t *testing.T) {
	set, report := Parse("x.yaml", []byte(`
pipeline:
  - dataTypes: [a]
    steps:
      - dynamic: {plugin: geo}
      - dynamic: {plugin: enrich}
      - dynamic: {plugin: geo}
tenants:
  - {id: t1, name: first}
  - {id: t1, name: second}
plugins:
  rules: {bundled: cel, level: 3}
  mail: {topics: [alarm, parsing_dropped]}
  kafka: {topics: "a,b"}
  notification: {order: [mail]}
`))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"rules": "cel"}, set.Bundled()); diff != "" {
		t.Errorf("Bundled (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"bundled": "cel", "level": 3.0}, set.PluginSettings("rules")); diff != "" {
		t.Errorf("PluginSettings (-want +got):\n%s", diff)
	}
	if set.PluginSettings("none") != nil {
		t.Error("settings for a plugin that has none")
	}
	if got := set.DynamicPlugins(); !slices.Equal(got, []string{"enrich", "geo"}) {
		t.Errorf("DynamicPlugins = %v", got)
	}
	if got := set.Topics("mail"); !slices.Equal(got, []string{"alarm", "parsing_dropped"}) {
		t.Errorf("Topics(mail) = %v", got)
	}
	if got := set.Topics("kafka"); got != nil {
		t.Errorf("Topics(kafka) = %v, want none", got)
	}
	if tenant, ok := set.Tenant("t1"); !ok || tenant.Name != "first" {
		t.Errorf("Tenant(t1) = %v, %t; want the first", tenant, ok)
	}
	if _, ok := set.Tenant("t2"); ok {
		t.Error("found a tenant that is not there")
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	one := "pipeline: [{dataTypes: [a], steps: [{dynamic: {plugin: p, params: {x: 1, y: [true, null], z: t}}}]}]\n"
	two := "patterns: {a: b, c: d}\ntenants: [{id: x}]\nplugins: {mine: {}}\n"
	put(t, filepath.Join(dir, "whole", "1.yaml"), one+two)
	put(t, filepath.Join(dir, "cut", "1.yaml"), "\n# moved\n"+one)
	put(t, filepath.Join(dir, "cut", "sub", "2.yaml"), "patterns: {c: d}\ntenants: [{id: x}]\n")
	put(t, filepath.Join(dir, "cut", "sub", "3.yaml"), "patterns: {a: b}\n")
	whole, _ := Load(filepath.Join(dir, "whole"))
	cut, _ := Load(filepath.Join(dir, "cut"))
	if whole.Fingerprint() != cut.Fingerprint() {
		t.Error("the same configuration, cut otherwise, has another fingerprint")
	}
	// It goes over the wire between nodes of different builds.
	if got, want := whole.Fingerprint(), "2e18282e39671b08a9d4eb6695358fe1"; got != want {
		t.Errorf("fingerprint = %s, want %s as ever", got, want)
	}
	seen := map[string]string{whole.Fingerprint(): one + two}
	for _, text := range []string{
		"", one, two,
		strings.Replace(one+two, "x: 1", "x: 2", 1),
		strings.Replace(one+two, "x: 1", "x: '1'", 1),
		strings.Replace(one+two, "null", "false", 1),
		strings.Replace(one+two, "a: b", "a: bc", 1),
		strings.Replace(one+two, "[a]", "[a, b]", 1),
		strings.Replace(one+two, "{id: x}", "{name: x}", 1),
		strings.Replace(one+two, "{dynamic", "{json: {}}, {dynamic", 1),
	} {
		set, report := Parse("x.yaml", []byte(text))
		if err := report.Err(); err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[set.Fingerprint()]; twice {
			t.Errorf("one fingerprint for two configurations:\n%s\n%s", text, other)
		}
		seen[set.Fingerprint()] = text
	}
}

func TestPositions(t *testing.T) {
	set, _ := Parse("dir/x.yaml", []byte("pipeline:\n  - dataTypes: [a]\n    steps:\n      - json: {}\n      - drop:\n          where: 'true'\n"))
	p := set.Pipelines[0]
	if got, want := p.Position.String(), "dir/x.yaml:2:5"; got != want {
		t.Errorf("pipeline at %s, want %s", got, want)
	}
	if got, want := p.Steps[1].Position.String(), "dir/x.yaml:5:9"; got != want {
		t.Errorf("step at %s, want %s", got, want)
	}
	if got := p.Steps[1].Proto.GetDrop().GetWhere(); p.Steps[1].Kind != "drop" || got != "true" {
		t.Errorf("step = %s where %q", p.Steps[1].Kind, got)
	}
}

// The real files are not part of the project; they lie in the shared folder.
func TestRealFiles(t *testing.T) {
	dir := t.TempDir()
	var pipelines int
	err := filepath.WalkDir(shared.Dir(t, "configs", "filters"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			pipelines++
			put(t, filepath.Join(dir, strings.TrimSuffix(e.Name(), ".yml")+".yaml"), string(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	set, report := Load(dir)
	var got []string
	for _, p := range report {
		p.Position.File = filepath.Base(p.Position.File)
		got = append(got, p.String())
	}
	want := []string{
		`linux.yaml:25:15: warning: pipeline[0].steps[1].grok.patterns[0]: unknown key "field_name" is ignored; did you mean "fieldName"?`,
		`syslog-generic.yaml:9:15: warning: pipeline[0].steps[0].grok.patterns[0]: unknown key "field_name" is ignored; did you mean "fieldName"?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if len(set.Pipelines) != pipelines {
		t.Errorf("%d pipelines of %d files", len(set.Pipelines), pipelines)
	}
}

func TestConformanceFiles(t *testing.T) {
	dir := shared.Dir(t, "conformance", "cisco-asa")
	set, report := Load(dir)
	for _, p := range report {
		if !strings.HasSuffix(p.Position.File, ".yml") { // its rules
			t.Error(p)
		}
	}
	if len(set.Pipelines) != 1 || !slices.Equal(set.Pipelines[0].DataTypes, []string{"firewall-cisco-asa"}) || set.Patterns["greedy"] != ".*" {
		t.Errorf("%d pipelines, %d patterns", len(set.Pipelines), len(set.Patterns))
	}
	if got := set.DynamicPlugins(); !slices.Equal(got, []string{"com.utmstack.geolocation"}) {
		t.Errorf("DynamicPlugins = %v", got)
	}
}

func compact(m interface{ String() string }) string {
	return strings.Join(strings.Fields(m.String()), " ")
}
