package scaffold

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Checkout returns the folder of the kit's source code that dir is, or lies in;
// empty if it lies in none.
func Checkout(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		if moduleOf(dir) == kitModule {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// CheckReplace says why a project in this language cannot be built with a
// checkout in dir; nil if it can.
func CheckReplace(lang, dir string) error {
	want := kitModule
	if lang == "go-sdk" {
		want = sdkModule
	}
	switch got := moduleOf(dir); got {
	case want:
		return nil
	case "":
		return fmt.Errorf("%s has no go.mod of %s: name the folder of a checkout", dir, want)
	default:
		return fmt.Errorf("%s is a checkout of %s, wanted is one of %s", dir, got, want)
	}
}

// moduleOf reads the module path of the go.mod in dir; empty if there is none.
func moduleOf(dir string) string {
	f, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 0; n < 100 && lines.Scan(); n++ {
		if path, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.Trim(strings.TrimSpace(path), `"`)
		}
	}
	return ""
}
