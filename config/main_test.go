package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// golden runs get over each archive that fits the pattern, with its files laid
// down in a folder, and compares the result with the archive's file "want".
// The folder's name is left out of the result.
func golden(t *testing.T, pattern string, get func(t *testing.T, dir string) string) {
	archives, err := filepath.Glob(pattern)
	if err != nil || len(archives) == 0 {
		t.Fatalf("no golden files at %s: %v", pattern, err)
	}
	for _, path := range archives {
		name, _ := strings.CutSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir, want := t.TempDir(), -1
			for i, f := range ar.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				put(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			got := strings.ReplaceAll(get(t, dir), dir+string(filepath.Separator), "")
			if *update {
				if want < 0 {
					want = len(ar.Files)
					ar.Files = append(ar.Files, txtar.File{Name: "want"})
				}
				ar.Files[want].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatal("the archive has no file named want; run with -update")
			}
			if diff := cmp.Diff(string(ar.Files[want].Data), got); diff != "" {
				t.Errorf("differs from the golden file (-want +got), -update writes it anew:\n%s", diff)
			}
		})
	}
}

// put writes a file and the folders it lies in.
func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
