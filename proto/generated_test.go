package pb_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is committed is what the generators make of the .proto files.
func TestGeneratedCodeIsFresh(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "./protogen", "-out", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go run ./protogen: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	committed, err := filepath.Glob("*.pb.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(committed) || len(made) == 0 {
		t.Errorf("%d files are made, %d are committed", len(made), len(committed))
	}
	for _, name := range made {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: go generate ./proto", filepath.Base(name))
		}
	}
}
