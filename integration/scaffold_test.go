package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/plugins/scaffold"
)

// A new project of every kind in every language builds, passes its own test, and
// its plugin passes "epmesh plugin check". Projects with the kit are built
// without the network, from what this module needs itself; those with the
// official SDK as in TestOfficialSDK.
func TestScaffold(t *testing.T) {
	for _, lang := range scaffold.Langs {
		t.Run(lang, func(t *testing.T) {
			var l language
			switch lang {
			case "python":
				l = pythonLanguage(t)
			case "go-sdk":
				l = sdkLanguage(t)
			default:
				l = kitLanguage(t)
			}
			program := epmesh(t)
			for _, kind := range scaffold.Kinds {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					scaffolded(t, program, lang, kind, l)
				})
			}
		})
	}
}

// language is how the projects of one are made and built.
type language struct {
	flags   []string // of plugin new
	env     []string
	prepare func(t *testing.T, dir string)
	// commands come before the check; NAME stands for the plugin's name.
	commands [][]string
	// warnings that its plugins are known to get: kind, check.
	warnings [][2]string
}

func kitLanguage(t *testing.T) language {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return language{
		flags: []string{"--replace", root},
		env:   []string{"GOWORK=off", "GOFLAGS=-mod=mod -trimpath"},
		prepare: func(t *testing.T, dir string) {
			sums, err := os.ReadFile("../go.sum")
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		commands: [][]string{{"go", "vet", "./..."}, {"go", "test", "./..."}, {"go", "build", "-o", "NAME.plugin", "."}},
	}
}

func sdkLanguage(t *testing.T) language {
	from := os.Getenv("EPMESH_GOSDK")
	if from == "" {
		t.Skip("EPMESH_GOSDK is not set: it names a checkout of " + sdkModule + " " + sdkVersion + `, or is "module"`)
	}
	l := language{
		env:      []string{"GOWORK=off", "GOFLAGS=-trimpath"},
		commands: [][]string{{"go", "mod", "tidy"}, {"go", "vet", "./..."}, {"go", "test", "./..."}, {"go", "build", "-o", "NAME.plugin", "."}},
		warnings: [][2]string{
			// A message gets a new id each time.
			{"correlation", "repeat"},
			// Acks are thrown away; the process ends when a stream does.
			{"input", "stall"},
			{"input", "node-restart"},
		},
	}
	if from != "module" {
		checkout, err := filepath.Abs(from)
		if err != nil {
			t.Fatal(err)
		}
		sums, err := os.ReadFile(shared.Dir(t, "contract", "gosdk-sums.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if sum := moduleSum(t, checkout); !strings.Contains(string(sums), sdkModule+" "+sdkVersion+" "+sum+"\n") {
			t.Fatalf("%s is not %s %s: its sum is %s", checkout, sdkModule, sdkVersion, sum)
		}
		l.flags = []string{"--replace", checkout}
	}
	return l
}

func pythonLanguage(t *testing.T) language {
	interpreter, err := exec.LookPath(python(t))
	if err != nil {
		t.Fatal(err)
	}
	// The plugin's first line asks for python3.
	dir := t.TempDir()
	if err := os.Symlink(interpreter, filepath.Join(dir, "python3")); err != nil {
		t.Fatal(err)
	}
	return language{
		env:      []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1"},
		commands: [][]string{{"python3", "-m", "unittest"}},
	}
}

// scaffolded makes one project and does with it what its README says.
func scaffolded(t *testing.T, program, lang, kind string, l language) {
	name := "x-" + kind
	dir := filepath.Join(t.TempDir(), name)
	run := func(where string, args ...string) []byte {
		t.Helper()
		// By its path, as PATH may be the project's.
		path := args[0]
		if path == "python3" {
			path = strings.TrimPrefix(strings.Split(l.env[0], ":")[0], "PATH=") + "/python3"
		}
		cmd := exec.CommandContext(t.Context(), path, args[1:]...)
		cmd.Dir = where
		cmd.Env = append(os.Environ(), l.env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
		}
		return stdout.Bytes()
	}
	told := run(filepath.Dir(dir), append([]string{program, "plugin", "new", name, "--kind", kind, "--lang", lang}, l.flags...)...)
	if l.prepare != nil {
		l.prepare(t, dir)
	}
	for _, command := range l.commands {
		command = slices.Clone(command)
		for i := range command {
			command[i] = strings.ReplaceAll(command[i], "NAME", name)
		}
		run(dir, command...)
	}
	// The check as the user was told to make it, with the results as JSON.
	_, check, ok := strings.Cut(string(told), "  epmesh plugin check ")
	if !ok {
		t.Fatalf("plugin new says:\n%s", told)
	}
	check, _, _ = strings.Cut(check, "\n")
	results := run(dir, "/bin/sh", "-c", "exec "+program+" plugin check --json "+check)
	checks := 0
	for lines := bufio.NewScanner(bytes.NewReader(results)); lines.Scan(); checks++ {
		var r struct{ Check, Kind, Status, Seen string }
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		t.Logf("%-4s %s %s: %s", r.Status, r.Kind, r.Check, r.Seen)
		known := slices.Contains(l.warnings, [2]string{kind, r.Check})
		// On a busy machine an input may be too slow to be seen waiting.
		if r.Status == "FAIL" || r.Status == "warn" && !known && r.Check != "stall" {
			t.Errorf("%s %s: %s", r.Status, r.Check, r.Seen)
		}
	}
	if checks < 8 {
		t.Errorf("only %d checks were made", checks)
	}
}
