package integration

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/epmesh/epmesh/plugins/scaffold"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/types/known/structpb"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// The descriptors that the Python plugin reads are those of the contract.
func TestPythonDescriptors(t *testing.T) {
	want, err := scaffold.Descriptors()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("python", "plugins.protoset")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("plugins.protoset is stale: go test ./integration -run PythonDescriptors -update")
	}
}

// python finds an interpreter that has grpcio.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("PYTHON"), "python3", "/usr/bin/python3"} {
		if name != "" && exec.CommandContext(t.Context(), name, "-c", "import grpc, google.protobuf").Run() == nil {
			return name
		}
	}
	t.Skip("no Python with grpcio: apt-get install python3-grpcio python3-protobuf, or name an interpreter in PYTHON")
	return ""
}

func enricher(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(python(t), append([]string{filepath.Join("python", "enricher.py")}, args...)...)
	cmd.Env = append(os.Environ(), "WORK_DIR="+dir, "PYTHONDONTWRITEBYTECODE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
	return cmd
}

func TestPythonParsingPlugin(t *testing.T) {
	dir := shortdir.New(t)
	cmd := enricher(t, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()

	client := pb.NewParsingClient(enginetest.Dial(t, dir, "py-enricher_parsing.sock"))
	draft, err := client.ParseLog(t.Context(), &pb.Transform{
		Draft: &pb.Draft{Log: `{"id":"1","raw":"héllo","log":{"a":1}}`, Step: 2, Pipeline: 3, Errors: []string{"kept"}},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: "py-enricher", Params: map[string]*structpb.Value{"label": structpb.NewStringValue("by-python")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if gjson.Get(draft.Log, "log.python").String() != "by-python" || gjson.Get(draft.Log, "log.a").Int() != 1 || gjson.Get(draft.Log, "raw").String() != "héllo" {
		t.Errorf("draft: %s", draft.Log)
	}
	if draft.Step != 2 || draft.Pipeline != 3 || len(draft.Errors) != 1 {
		t.Errorf("draft: %v", draft)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("exit: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "sockets", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPythonInputPlugin(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	cmd := enricher(t, e.Dir, "source")
	cmd.Stdin = strings.NewReader("one\n\ntwo\n")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got := e.Raws(); len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Errorf("stored %q", got)
	}
	if l := e.Stored()[0]; l.DataType != "python" || l.Timestamp == "" || l.Id == "" {
		t.Errorf("log: %v", l)
	}
}
