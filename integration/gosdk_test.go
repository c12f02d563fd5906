package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/integration/shortdir"
)

const (
	sdkModule  = "github.com/threatwinds/go-sdk"
	sdkVersion = "v1.1.31"
)

// The programs of the plugin documentation's quick start, not changed in a
// letter and built with the official SDK, work with the node. The SDK is no
// dependency of this module: EPMESH_GOSDK names a checkout of its v1.1.31, or is
// "module" where the Go command can fetch it. See docs/testing.md.
func TestOfficialSDK(t *testing.T) {
	from := os.Getenv("EPMESH_GOSDK")
	if from == "" {
		t.Skip("EPMESH_GOSDK is not set: it names a checkout of " + sdkModule + " " + sdkVersion + `, or is "module"`)
	}
	text, err := os.ReadFile(shared.Dir(t, "contract", "plugin-architecture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	bin := buildQuickStart(t, from, string(text))

	dir := shortdir.New(t)
	configure(t, dir, quickStartYAML(t, string(text))+"plugins: {analysis: {order: [none]}}\n")
	for _, name := range []string{"enricher", "source"} {
		if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(bin, name), filepath.Join(dir, "plugins", name+".plugin")); err != nil {
			t.Fatal(err)
		}
	}
	n := startNode(t, dir).await()
	events := tapEvents(t, dir)
	// The source makes a log every ten seconds. Its first is lost within it: the
	// SDK's queue is not made yet when it enqueues.
	late := time.After(patience)
	for range 2 {
		select {
		case e := <-events:
			if e.GetDataType() != "custom_data" || e.GetDataSource() != "external_api" || e.GetRaw() != `{"message": "hello world"}` || len(e.GetErrors()) > 0 {
				t.Errorf("event %v", e)
			}
			if got := e.GetLog()["custom_status"].GetStringValue(); got != "processed_by_plugin" {
				t.Errorf("log.custom_status is %q", got)
			}
			t.Logf("event %s: log.custom_status = %s", e.GetId(), e.GetLog()["custom_status"].GetStringValue())
		case <-late:
			t.Fatalf("no event\n%s", n.tail())
		}
	}
	n.stop()
}

// buildQuickStart builds both programs of the text in a module of their own, and
// returns the folder of the programs.
func buildQuickStart(t *testing.T, from, text string) string {
	t.Helper()
	programs := regexp.MustCompile(`(?ms)^(package main\n.*?^}\n)\n(?:\d\.|🚀)`).FindAllStringSubmatch(text, -1)
	if len(programs) != 2 {
		t.Fatalf("the documentation has %d programs", len(programs))
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write("enricher/main.go", programs[0][1])
	write("source/main.go", programs[1][1])
	sums, err := os.ReadFile(shared.Dir(t, "contract", "gosdk-sums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	mod := "module example.com/quickstart\n\ngo 1.25.5\n\nrequire " + sdkModule + " " + sdkVersion + "\n"
	if from == "module" {
		write("go.sum", string(sums))
	} else {
		checkout, err := filepath.Abs(from)
		if err != nil {
			t.Fatal(err)
		}
		if sum := moduleSum(t, checkout); !strings.Contains(string(sums), sdkModule+" "+sdkVersion+" "+sum+"\n") {
			t.Fatalf("%s is not %s %s: its sum is %s", checkout, sdkModule, sdkVersion, sum)
		}
		mod += "\nreplace " + sdkModule + " => " + checkout + "\n"
	}
	write("go.mod", mod)
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "-o", "bin/", "./enricher", "./source"}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return filepath.Join(dir, "bin")
}

// quickStartYAML is the configuration that the text gives.
func quickStartYAML(t *testing.T, text string) string {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^    pipeline:\n(?:      .*\n)+`).FindString(text)
	if !strings.Contains(lines, "plugin: my-enricher") {
		t.Fatalf("the documentation has no configuration: %q", lines)
	}
	return strings.ReplaceAll("\n"+lines, "\n    ", "\n")
}

// moduleSum is the sum of a module's files as go.sum has it.
func moduleSum(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular() && d.Name() != ".git":
			name, err := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(sdkModule+"@"+sdkVersion+"/"+a, sdkModule+"@"+sdkVersion+"/"+b)
	})
	var list bytes.Buffer
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%x  %s@%s/%s\n", sha256.Sum256(data), sdkModule, sdkVersion, name)
	}
	sum := sha256.Sum256(list.Bytes())
	return "h1:" + base64.StdEncoding.EncodeToString(sum[:])
}
