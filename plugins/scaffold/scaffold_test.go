package scaffold

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden files anew")

// project is one of the kind and language.
func project(kind, lang string) Project {
	p := Project{Name: "my-" + kind, Kind: kind, Lang: lang}
	if lang != "python" {
		p.Replace = "/src/checkout"
	}
	return p
}

func each(t *testing.T, do func(t *testing.T, p Project, files map[string]string)) {
	t.Helper()
	for _, lang := range Langs {
		for _, kind := range Kinds {
			t.Run(lang+"/"+kind, func(t *testing.T) {
				p := project(kind, lang)
				list, err := Files(p)
				if err != nil {
					t.Fatal(err)
				}
				files := map[string]string{}
				for _, f := range list {
					files[f.Path] = string(f.Text)
				}
				do(t, p, files)
			})
		}
	}
}

// TestGolden compares all that is made with testdata/<lang>_<kind>.txtar, but for
// what is the same in each project: mesh.py and the contract.
func TestGolden(t *testing.T) {
	each(t, func(t *testing.T, p Project, _ map[string]string) {
		list, err := Files(p)
		if err != nil {
			t.Fatal(err)
		}
		got := new(txtar.Archive)
		for _, f := range list {
			if f.Path != "mesh.py" && !strings.HasPrefix(f.Path, "contract/") {
				got.Files = append(got.Files, txtar.File{Name: f.Path, Data: f.Text})
			}
		}
		path := filepath.Join("testdata", p.Lang+"_"+p.Kind+".txtar")
		if *update {
			if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(txtar.Format(got), want) {
			t.Errorf("%s differs: go test ./plugins/scaffold -update, and look at the difference", path)
		}
	})
}

func TestMeshPyIsItsTemplate(t *testing.T) {
	text, err := templates.ReadFile("templates/python/mesh.py.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds {
		list, err := Files(project(kind, "python"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if f.Path == "mesh.py" && !bytes.Equal(f.Text, text) {
				t.Errorf("mesh.py of a %s plugin is its own", kind)
			}
		}
	}
}

// What is made is formatted, loads, and is what the README says it is.
func TestFiles(t *testing.T) {
	samples := map[string]proto.Message{"analysis": new(pb.Event), "correlation": new(pb.Alert), "notification": new(pb.Message)}
	each(t, func(t *testing.T, p Project, files map[string]string) {
		for name, text := range files {
			if strings.HasSuffix(name, ".go") {
				formatted, err := format.Source([]byte(text))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if string(formatted) != text {
					t.Errorf("%s is not formatted:\n%s", name, text)
				}
			}
			if strings.Contains(text, "{{") && name != "contract/plugins.protoset" && !strings.HasSuffix(name, ".go") || strings.Contains(text, "<no value>") {
				t.Errorf("%s holds a template", name)
			}
			if text == "" || !strings.HasSuffix(text, "\n") && name != "contract/plugins.protoset" {
				t.Errorf("%s has no last line", name)
			}
		}
		readme := files["README.md"]
		for _, want := range []string{p.CheckCommand(), p.Name + ".plugin", "WORK_DIR/plugins/", "pipeline/" + p.Name + ".yaml"} {
			if !strings.Contains(readme, want) {
				t.Errorf("README.md has no %q", want)
			}
		}
		for name := range files {
			if folder, _, ok := strings.Cut(name, "/"); ok {
				name = folder + "/"
			}
			if name != "README.md" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "go.") && !strings.Contains(readme, "`"+name) {
				t.Errorf("README.md does not say what %s is", name)
			}
		}
		if sample, ok := files["sample.json"]; ok {
			if m := samples[p.Kind]; m != nil {
				if err := protojson.Unmarshal([]byte(sample), m); err != nil {
					t.Errorf("sample.json: %v", err)
				}
			} else if !json.Valid([]byte(sample)) {
				t.Error("sample.json is no JSON")
			}
		}
		for name, text := range files {
			if !strings.HasSuffix(name, ".yaml") {
				continue
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, report := config.Load(dir); len(report) > 0 {
				t.Errorf("%s: %v", name, report)
			}
		}
	})
}

// The descriptors are those that the Python plugin of our own tests reads.
func TestDescriptors(t *testing.T) {
	got, err := Descriptors()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../integration/python/plugins.protoset")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("they differ from integration/python/plugins.protoset")
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "my-enricher", "my_enricher2", "com.example.geo", "x-1", strings.Repeat("a", 48)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "A", "My-Plugin", "1st", "-a", "a-", "a--b", "a/b", "../a", ".a", "a.", "a b", "ä", "a\n", "a\x00", "analysis", "order",
		strings.Repeat("a", 49),
	} {
		if err := CheckName(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMistakes(t *testing.T) {
	for want, p := range map[string]Project{
		"kind":                 {Name: "a", Kind: "output", Lang: "go", Replace: "/x"},
		"language":             {Name: "a", Kind: "input", Lang: "rust"},
		"--replace DIR":        {Name: "a", Kind: "input", Lang: "go"},
		"module path":          {Name: "a", Kind: "input", Lang: "go-sdk", Module: "a b"},
		"no Go module":         {Name: "a", Kind: "input", Lang: "python", Module: "example.com/a"},
		"move the checkout":    {Name: "a", Kind: "input", Lang: "go", Replace: "/x\n/y"},
		"lower-case letters":   {Name: "A", Kind: "input", Lang: "python"},
		"means something else": {Name: "correlation", Kind: "input", Lang: "python"},
	} {
		if _, err := Files(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", p, err, want)
		}
	}
}

func TestWrite(t *testing.T) {
	p := project("parsing", "python")
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := Write(p, dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, p.Name+".plugin"))
	if err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("the plugin is not executable: %v %v", info, err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "plugin.py"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(project("analysis", "python"), dir); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "plugin.py")); err != nil || !bytes.Equal(after, before) {
		t.Errorf("plugin.py was changed: %v", err)
	}
	// An empty folder may be filled; one that cannot be is not left half full.
	empty := t.TempDir()
	if err := Write(p, empty); err != nil {
		t.Error(err)
	}
	if err := Write(p, filepath.Join(dir, "plugin.py", "c")); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestCheckout(t *testing.T) {
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if got := Checkout("."); got != here {
		t.Errorf("checkout %q, want %q", got, here)
	}
	if got := Checkout(t.TempDir()); got != "" {
		t.Errorf("checkout %q of an empty folder", got)
	}
	if err := CheckReplace("go", here); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{"wanted is one of github.com/threatwinds": CheckReplace("go-sdk", here), "no go.mod": CheckReplace("go", t.TempDir())} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
