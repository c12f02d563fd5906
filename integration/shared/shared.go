// Package shared finds the data of others that tests compare with: the contract,
// recordings and configurations. It lies beside the checkout and is no part of
// the project.
package shared

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir is the path of something in the shared folder, such as
// Dir(t, "conformance", "cisco-asa"). EPMESH_SHARED names the folder; without it
// it is the nearest one called shared beside the current folder or above that
// has what is asked for. Where it is absent the test is skipped.
func Dir(t testing.TB, parts ...string) string {
	t.Helper()
	want := filepath.Join(parts...)
	if dir := os.Getenv("EPMESH_SHARED"); dir != "" {
		path := filepath.Join(dir, want)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("EPMESH_SHARED has no %s: nothing to compare with", want)
		}
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "shared", want)
		// This package's own folder bears the name too.
		if _, err := os.Stat(path); err == nil && want != "" {
			return path
		}
	}
	t.Skipf("no folder shared with %s beside the checkout and no EPMESH_SHARED: nothing to compare with", want)
	return ""
}
