package integration

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// marked are the blocks of a document that are run: those behind a comment
// "test: background" and "test: run".
var marked = regexp.MustCompile("(?s)<!-- test: (background|run) -->\n```sh\n(.*?)```")

// What the README tells a newcomer to type works, in the order in which it is
// told. Only the places of the binary and the work dir are others.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortdir.New(t)
	replace := strings.NewReplacer("./workdir", filepath.Join(dir, "w"), "./epmesh", filepath.Join(dir, "epmesh"))
	if out, err := command(t.Context(), "go build -o "+filepath.Join(dir, "epmesh")+" ./cmd/epmesh").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	blocks := marked.FindAllSubmatch(text, -1)
	if len(blocks) < 4 {
		t.Fatalf("found only %d blocks to run", len(blocks))
	}
	for _, b := range blocks {
		script := replace.Replace(string(b[2]))
		if string(b[1]) == "background" {
			background(t, script, filepath.Join(dir, "w"))
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := command(ctx, script).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		t.Logf("%s\n%s", script, out)
		if strings.Contains(script, "tap events") && !bytes.Contains(out, []byte(`"custom_status":"processed_by_plugin"`)) {
			t.Errorf("the tap showed %s", out)
		}
	}
}

// So does what the guide for operators says, on a node that runs.
func TestOperationsCommands(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(shortdir.New(t), "w")
	background(t, epmesh(t)+" up --syslog 127.0.0.1:0 --ingest 127.0.0.1:0 --http 127.0.0.1:0 --nats 127.0.0.1:0 --work-dir "+work, work)
	replace := strings.NewReplacer("./workdir", work, "./epmesh", epmesh(t))
	blocks := marked.FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatal("found no block to run")
	}
	for _, b := range blocks {
		script := replace.Replace(string(b[2]))
		out, err := command(t.Context(), strings.ReplaceAll(script, " verify ", " verify --within 1m ")).CombinedOutput()
		if err != nil || strings.Contains(script, "verify") && !bytes.Contains(out, []byte("events 100, dead 0, missing 0,")) {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// background runs a node until the test ends, and returns when it takes logs.
func background(t *testing.T, script, work string) {
	t.Helper()
	cmd := command(context.WithoutCancel(t.Context()), "exec "+script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", script, err, &out)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if conn, err := net.Dial("unix", filepath.Join(work, "sockets", "engine_server.sock")); err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", script, err, &out)
		case <-deadline:
			t.Fatalf("%s does not take logs", script)
		}
	}
}

// command is a script that runs at the root of the repository, without the
// settings that are in this test's environment.
func command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	cmd.Dir = ".."
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "EPMESH_"), strings.HasPrefix(name, "NATS_"),
			name == "WORK_DIR", name == "NODE_NAME", name == "NODE_GROUPS", name == "LOG_LEVEL", name == "MODE":
		default:
			cmd.Env = append(cmd.Env, entry)
		}
	}
	return cmd
}
