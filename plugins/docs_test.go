package plugins

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The Go programs of the documentation compile.
func TestDocumentedPrograms(t *testing.T) {
	text, err := os.ReadFile("../docs/writing-a-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindAllSubmatch(text, -1)
	if len(programs) < 2 {
		t.Fatalf("found %d programs", len(programs))
	}
	for _, p := range programs {
		buildSource(t, p[1])
	}
}

// buildSource compiles the text of a program within this module. The go command
// passes over a folder whose name begins with an underscore.
func buildSource(t *testing.T, text []byte) {
	t.Helper()
	folder, err := os.MkdirTemp("testdata", "_program")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.WriteFile(filepath.Join(folder, "main.go"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	build(t, folder)
}
