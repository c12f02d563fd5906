package cases

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	pb "github.com/epmesh/epmesh/proto"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// lay puts an archive's files into a folder, without those that are wanted.
func lay(t *testing.T, ar *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range ar.Files {
		if strings.HasPrefix(f.Name, "want") {
			continue
		}
		put := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(put), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(put, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGolden runs the case files of each archive. "want" is what is said of
// them, "want NAME" the file NAME after an update where that changes it.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := lay(t, ar)
			got := []txtar.File{{Name: "want", Data: []byte(said(t, dir))}}
			got = append(got, updated(t, dir)...)
			kept := slices.DeleteFunc(slices.Clone(ar.Files), func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want") })
			out := string(txtar.Format(&txtar.Archive{Comment: ar.Comment, Files: append(kept, got...)}))
			if *update {
				if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(ar)), out); diff != "" {
				t.Errorf("differs from the golden file (-want +got), -update writes it anew:\n%s", diff)
			}
		})
	}
}

// asThePlugin runs rules as the bundled plugin does.
func asThePlugin(rules []config.Rule, set *config.Set) (func() func(*pb.Event) []*pb.Alert, config.Report) {
	compiled, report := cel.CompileRules(rules, set)
	return func() func(*pb.Event) []*pb.Alert { return compiled.Engine(cel.EngineOptions{}).Analyze }, report
}

func run(t *testing.T, dir string, o Options) ([]File, *Coverage) {
	t.Helper()
	paths, err := config.FindCases([]string{dir})
	if err != nil || len(paths) == 0 {
		t.Fatalf("found %v: %v", paths, err)
	}
	o.Rules = asThePlugin
	files, coverage, err := Run(t.Context(), paths, o)
	if err != nil {
		t.Fatal(err)
	}
	return files, coverage
}

// said is all that is told of the case files in a folder.
func said(t *testing.T, dir string) string {
	files, coverage := run(t, dir, Options{Coverage: true})
	var b strings.Builder
	for i := range files {
		f := &files[i]
		fmt.Fprintf(&b, "%s: %d of %d failed\n", f.Path, f.Failed(), len(f.Results))
		b.WriteString(f.Problems.String())
		for _, r := range f.Results {
			if r.Passed() {
				fmt.Fprintf(&b, "ok    %s\n", r.Case.Name)
				continue
			}
			fmt.Fprintf(&b, "FAIL  %s: %s\n", r.Case.Position, r.Case.Name)
			for _, line := range r.Lines() {
				fmt.Fprintf(&b, "      %s\n", line)
			}
		}
		for _, n := range f.Notes {
			fmt.Fprintf(&b, "note  %s: %s\n", n.Position, n.Text)
		}
	}
	fmt.Fprintf(&b, "%d of %d steps run, %d%%\n", coverage.Run, coverage.Steps, coverage.Percent())
	for _, s := range coverage.Idle {
		fmt.Fprintf(&b, "idle %s %s\n", s.Position, s.Kind)
	}
	for _, s := range coverage.Unchanging {
		fmt.Fprintf(&b, "unchanging %s %s %d\n", s.Position, s.Kind, s.Runs)
	}
	for _, s := range coverage.Unentered {
		fmt.Fprintf(&b, "unentered %s %d\n", s.Position, s.Steps)
	}
	return strings.ReplaceAll(b.String(), dir+string(filepath.Separator), "")
}

// updated are the case files that an update changes. What comes of it passes,
// and a second update changes nothing.
func updated(t *testing.T, dir string) []txtar.File {
	files, _ := run(t, dir, Options{})
	var out []txtar.File
	for i := range files {
		f := &files[i]
		if f.Problems.Err() != nil {
			continue
		}
		before, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		text, changed, err := f.Update()
		if err != nil {
			t.Fatal(err)
		}
		if (changed > 0) != (string(text) != string(before)) || changed != f.Failed() {
			t.Errorf("%d cases failed, %d are changed, the text is the same: %t", f.Failed(), changed, string(text) == string(before))
		}
		if changed == 0 {
			continue
		}
		if err := config.WriteCases(f.Path, text); err != nil {
			t.Fatal(err)
		}
		out = append(out, txtar.File{Name: "want " + filepath.Base(f.Path), Data: text})
	}
	files, _ = run(t, dir, Options{})
	for i := range files {
		f := &files[i]
		for _, r := range f.Results {
			if !r.Passed() {
				t.Errorf("after the update %s does not pass:\n%s", r.Case.Name, strings.Join(r.Lines(), "\n"))
			}
		}
		if f.Problems.Err() != nil {
			continue
		}
		if _, changed, err := f.Update(); err != nil || changed != 0 {
			t.Errorf("a second update changed %d cases of %s: %v", changed, f.Path, err)
		}
	}
	return out
}

// simple is a folder with a case that passes and one whose plugin is not
// answered for.
func simple(t *testing.T) string {
	t.Helper()
	return lay(t, txtar.Parse([]byte(`
-- a.yaml --
pipeline:
  - dataTypes: [t]
    steps:
      - dynamic: {plugin: p, where: 'contains("raw", "call")'}
-- a_test.yml --
defaults: {dataType: t}
cases:
  - {name: passes, raw: x, exact: true}
  - {name: calls, raw: call, exact: true}
`)))
}

// A plugin that never answers costs its case, and no more than its time.
func TestLate(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan struct{})
	files, _ := run(t, simple(t), Options{Timeout: 20 * time.Millisecond, Dynamic: func(context.Context, *pb.Transform) (*pb.Draft, error) {
		defer close(ended)
		<-release
		return nil, errors.New("too late")
	}})
	close(release)
	<-ended
	r := files[0].Results
	if !r[0].Passed() || r[1].Passed() || !strings.Contains(strings.Join(r[1].Lines(), "\n"), "took longer than 20ms") {
		t.Errorf("%v, %v", r[0].Lines(), r[1].Lines())
	}
	if _, _, err := files[0].Update(); err == nil {
		t.Error("updated a case without an outcome")
	}
}

// What cases do not answer for is asked of the plugin that was handed in.
func TestRealPlugin(t *testing.T) {
	files, _ := run(t, simple(t), Options{Dynamic: func(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
		return nil, errors.New("asked " + tr.GetStep().GetDynamic().GetPlugin())
	}})
	if got := strings.Join(files[0].Results[1].Lines(), "\n"); !strings.Contains(got, "asked p") || len(files[0].Notes) > 0 {
		t.Errorf("%s %v", got, files[0].Notes)
	}
}

func TestOnly(t *testing.T) {
	files, _ := run(t, simple(t), Options{Only: func(name string) bool { return name == "calls" }})
	if r := files[0].Results; len(r) != 1 || r[0].Case.Name != "calls" {
		t.Errorf("ran %v", r)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Run(ctx, []string{filepath.Join(simple(t), "a_test.yml")}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestPipelineFolder(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "pipeline", "a", "b")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		inner:                          filepath.Join(dir, "pipeline"),
		filepath.Join(dir, "pipeline"): filepath.Join(dir, "pipeline"),
		dir:                            dir,
	} {
		if got := pipelineFolder(from); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	t.Chdir(filepath.Join(dir, "pipeline"))
	for from, want := range map[string]string{".": ".", "a/b": "."} {
		if got := pipelineFolder(from); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	t.Chdir(inner)
	if got, want := pipelineFolder("."), filepath.Join(dir, "pipeline"); got != want {
		t.Errorf("from below: %s, want %s", got, want)
	}
}
