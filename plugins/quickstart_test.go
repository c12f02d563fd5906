package plugins

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
)

// build compiles the program in a folder.
func build(t *testing.T, folder string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "plugin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./"+folder).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, out)
	}
	return bin
}

// start runs a plugin's program below dir. The returned function sends it a
// SIGTERM and waits for its end.
func start(t *testing.T, bin, dir string) (terminate func() error) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "WORK_DIR="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	terminate = func() error {
		if ended {
			return nil
		}
		ended = true
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
	t.Cleanup(func() {
		terminate()
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
	return terminate
}

func TestQuickStartEnricher(t *testing.T) {
	dir := shortdir.New(t)
	stop := start(t, build(t, "testdata/quickstart/enricher"), dir)
	client := pb.NewParsingClient(enginetest.Dial(t, dir, "my-enricher_parsing.sock"))
	d, err := client.ParseLog(t.Context(), &Transform{Draft: &Draft{Log: `{"raw":"x"}`}})
	if err != nil {
		t.Fatal(err)
	}
	if got := gjson.Get(d.Log, "log.custom_status").String(); got != "processed_by_plugin" {
		t.Errorf("draft: %s", d.Log)
	}
	if err := stop(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "sockets", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The source enqueues before its sender can have connected, and before the node
// is there.
func TestQuickStartSource(t *testing.T) {
	dir := shortdir.New(t)
	stop := start(t, build(t, "testdata/quickstart/source"), dir)
	e := enginetest.New(t, dir)
	e.Wait(t, "a log", func() bool { return len(e.Stored()) == 1 })
	if l := e.Stored()[0]; l.DataType != "custom_data" || l.Raw != `{"message": "hello world"}` {
		t.Errorf("log: %v", l)
	}
	// It has no handler of its own: the signal ends it, once its queue is sent.
	err := stop()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("exit: %v", err)
	}
}

// The programs are those of the contract's documentation but for the import
// path; where that lies beside the repository, its text is what is compiled.
func TestQuickStartOfTheContract(t *testing.T) {
	text, err := os.ReadFile(shared.Dir(t, "contract", "plugin-architecture.txt"))
	if err != nil {
		t.Skip("the contract's documentation is not here:", err)
	}
	programs := regexp.MustCompile(`(?ms)^package main\n.*?^}\n\n(?:\d\.|🚀)`).FindAllString(string(text), -1)
	if len(programs) != 2 {
		t.Fatalf("found %d programs", len(programs))
	}
	for _, p := range programs {
		p = p[:strings.LastIndex(p, "}")+1] + "\n"
		p = strings.ReplaceAll(p, "github.com/threatwinds/go-sdk/plugins", "github.com/epmesh/epmesh/plugins")
		buildSource(t, []byte(p))
	}
}
