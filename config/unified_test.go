package config_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	lines := func(from, to int, change map[int]string) []byte {
		var b strings.Builder
		for i := from; i <= to; i++ {
			text, changed := change[i]
			if !changed {
				text = fmt.Sprintf("line %d\n", i)
			}
			b.WriteString(text)
		}
		return []byte(b.String())
	}
	from := config.Bundle{{Name: "pipeline/a.yaml", Data: lines(1, 20, nil)}, {Name: "pipeline/gone.yaml", Data: []byte("x: 1\n")}, {Name: "rules/same.yml", Data: []byte("s")}}
	to := config.Bundle{
		{Name: "pipeline/a.yaml", Data: lines(1, 20, map[int]string{2: "", 17: "seventeen\nand a half\n"})},
		{Name: "rules/new.yml", Data: []byte("n: 1\n")},
		{Name: "rules/same.yml", Data: []byte("s")},
	}
	want := `--- pipeline/a.yaml
+++ pipeline/a.yaml
@@ -1,5 +1,4 @@
 line 1
-line 2
 line 3
 line 4
 line 5
@@ -14,7 +13,8 @@
 line 14
 line 15
 line 16
-line 17
+seventeen
+and a half
 line 18
 line 19
 line 20
--- pipeline/gone.yaml
+++ /dev/null
@@ -1,1 +0,0 @@
-x: 1
--- /dev/null
+++ rules/new.yml
@@ -0,0 +1,1 @@
+n: 1
`
	if diff := cmp.Diff(want, config.Diff(from, to)); diff != "" {
		t.Error(diff)
	}
	if d := config.Diff(from, from); d != "" {
		t.Errorf("no difference is %q", d)
	}
}

// No secret of either side is shown, and yet that it has changed.
func TestDiffShowsNoSecrets(t *testing.T) {
	text := func(secret string) config.Bundle {
		return config.Bundle{{Name: "pipeline/a.yaml", Data: []byte(strings.ReplaceAll(`plugins:
  mail:
    password: SECRET
    user: me
    smtp_token: "SECRET"
    flow: {host: h, api_key: SECRET, after: SECRET}
    private_key: |
      SECRET
      more SECRET

      end SECRET
    url: https://me:SECRET@host/path
    secrets:
    - SECRET
    - inner: SECRET
    port: 25
`, "SECRET", secret))}}
	}
	d := config.Diff(text("hunter2"), text("swordfish"))
	if strings.Contains(d, "hunter2") || strings.Contains(d, "swordfish") {
		t.Errorf("it shows a secret:\n%s", d)
	}
	for _, line := range []string{"-    password: xxxxx\n", "+    password: xxxxx\n", "+    flow: {host: h, api_key: xxxxx\n", "+    url: https://xxxxx@host/path\n", "     user: me\n", "     port: 25\n"} {
		if !strings.Contains(d, line) {
			t.Errorf("there is no %q in\n%s", line, d)
		}
	}
}

// What patch makes of the one file with the diff is the other file.
func TestDiffCanBeApplied(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("there is no patch command here")
	}
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		draw := func(name string) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n"}), 1, 30).Draw(r, name), "")
		}
		a, b := draw("a"), draw("b")
		d := config.Diff(config.Bundle{{Name: "pipeline/f.yaml", Data: []byte(a)}}, config.Bundle{{Name: "pipeline/f.yaml", Data: []byte(b)}})
		if a == b {
			return
		}
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, []byte(a), 0o600); err != nil {
			r.Fatal(err)
		}
		cmd := exec.Command(patch, "-s", path)
		cmd.Stdin = strings.NewReader(d)
		if out, err := cmd.CombinedOutput(); err != nil {
			r.Fatalf("%v: %s\n%s", err, out, d)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != b {
			r.Fatalf("%q became %q, want %q (%v)\n%s", a, got, b, err, d)
		}
	})
}
