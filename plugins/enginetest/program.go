package enginetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// programEnv tells the test binary to be the plugin.
const programEnv = "EPMESH_TEST_PROGRAM"

type program struct {
	Dir      string
	Settings json.RawMessage
}

// Program is called first by TestMain: where Spawn has started this binary, it is
// the plugin, by run, and does not come back.
func Program(run func(dir string, settings []byte) error) {
	text := os.Getenv(programEnv)
	if text == "" {
		return
	}
	var p program
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = run(p.Dir, p.Settings)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Spawn runs the test binary as the plugin below dir, with settings that are JSON,
// and returns once it serves. Whoever calls ends it.
func Spawn(t testing.TB, dir, settings string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(program{Dir: dir, Settings: json.RawMessage(settings)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), programEnv+"="+string(text), "NODE_NAME=n1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); said += lines.Text() + "\n" {
		if strings.Contains(lines.Text(), `"serving"`) {
			go func() {
				for lines.Scan() {
				}
			}()
			return cmd
		}
	}
	t.Fatalf("the plugin does not serve: %v\n%s", cmd.Wait(), said)
	return nil
}
