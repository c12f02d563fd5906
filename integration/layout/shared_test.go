package layout

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
)

// longLine is from how many bytes on a line of somebody else's is known again;
// shorter ones two people may write alike.
const longLine = 100

// Other people's configurations and recordings lie beside the checkout for the
// tests to read, and do not become part of the project: no file of them, and no
// long line.
func TestNoDataOfOthersInTheTree(t *testing.T) {
	files := map[[sha256.Size]byte]string{}
	lines := map[string]string{}
	for _, folder := range []string{"configs", "conformance"} {
		eachFile(t, shared.Dir(t, folder), func(name string, text []byte) {
			files[sha256.Sum256(text)] = name
			for line := range bytes.Lines(text) {
				if line = bytes.TrimSpace(line); len(line) >= longLine {
					lines[string(line)] = name
				}
			}
		})
	}
	if len(files) < 50 {
		t.Fatalf("only %d files of others", len(files))
	}
	eachFile(t, root, func(name string, text []byte) {
		if of := files[sha256.Sum256(text)]; of != "" {
			t.Errorf("%s is %s", name, of)
			return
		}
		for line := range bytes.Lines(text) {
			if of := lines[string(bytes.TrimSpace(line))]; of != "" {
				t.Errorf("%s has a line of %s: %.60s...", name, of, bytes.TrimSpace(line))
			}
		}
	})
}

// eachFile reads the files below dir that are not too large to be text.
func eachFile(t *testing.T, dir string, f func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name != dir {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "workdir") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 4<<20 || info.Size() == 0 {
			return nil
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another package's test made it, and took it away
		}
		if err != nil {
			return err
		}
		f(name, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
