// Package shortdir makes folders for tests whose paths are short enough for
// sockets below them, which the folders of testing.TB are not.
package shortdir

import (
	"os"
	"testing"
)

// New makes an empty folder, which goes with the test.
func New(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "epm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
