package integration

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/tidwall/gjson"
)

// patience is how long a test waits for something before it fails.
const patience = 2 * time.Minute

var binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// epmesh is the path of the program, built once for all tests. EPMESH_BIN names
// a program to test instead.
func epmesh(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.path = os.Getenv("EPMESH_BIN"); binary.path != "" {
			return
		}
		if binary.dir, binary.err = os.MkdirTemp("", "epm"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "epmesh")
		if out, err := exec.Command("go", "build", fmt.Sprint("-race=", raced), "-o", binary.path, "../cmd/epmesh").CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("build epmesh: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

func removeBinary() {
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
}

func configure(t *testing.T, dir, text string) {
	t.Helper()
	if err := config.WriteFile(t.Context(), filepath.Join(dir, "pipeline"), "test.yaml", []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// process is "epmesh node" over a work dir.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	began time.Time
	ready chan struct{} // closed once it says so
	took  time.Duration // from the start, once ready
	ended chan struct{}
	err   error // once ended

	mu    sync.Mutex
	lines []string // the last that it wrote
}

const keptLines = 400

// startNode starts a node with short times and ports of its own choice; env goes
// over that. It is killed at the end of the test, if it has not ended before.
func startNode(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	return startProgram(t, epmesh(t), dir, env...)
}

// startProgram is startNode with another build of the program.
func startProgram(t *testing.T, program, dir string, env ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, "node", "--work-dir", dir), ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = append(plainEnviron(),
		"NODE_NAME=n1", "NATS_URL=", "EPMESH_HTTP_LISTEN=127.0.0.1:0", "EPMESH_NATS_LISTEN=127.0.0.1:0", "EPMESH_LOG_FORMAT=json",
		"EPMESH_STAGES_ACK_WAIT=2s", "EPMESH_PLUGINS_RESTART_MIN=50ms", "EPMESH_PLUGINS_RESTART_MAX=500ms")
	if raced {
		p.cmd.Env = append(p.cmd.Env, watchRaces(t))
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	// A plain pipe: waiting for the process must not wait for what a plugin
	// still holds open.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(r)
	}()
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		r.Close()
		<-read
		if t.Failed() {
			t.Logf("the node's last lines:\n%s", p.said())
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	told := false
	for s := bufio.NewScanner(r); s.Scan(); {
		line := s.Text()
		if !told && gjson.Get(line, "@message").String() == "ready" {
			told, p.took = true, time.Since(p.began)
			close(p.ready)
		}
		p.mu.Lock()
		if p.lines = append(p.lines, line); len(p.lines) > keptLines {
			p.lines = p.lines[1:]
		}
		p.mu.Unlock()
	}
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// said are the last lines of a failed test's node; EPMESH_NODE_LOG asks for more.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.lines
	if os.Getenv("EPMESH_NODE_LOG") == "" {
		lines = lines[max(0, len(lines)-10):]
	}
	return strings.Join(lines, "\n")
}

// await waits until the node is ready.
func (p *process) await() *process {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		p.t.Fatalf("the node ended: %v\n%s", p.err, p.tail())
	case <-time.After(patience):
		p.t.Fatalf("the node is not ready\n%s", p.tail())
	}
	return p
}

// kill is SIGKILL, and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop is SIGTERM, and fails unless the node ends well and in time.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("the node has ended before: %v\n%s", err, p.tail())
	}
	select {
	case <-p.ended:
		if p.err != nil {
			p.t.Errorf("the node ended with %v", p.err)
		}
	case <-time.After(patience):
		p.t.Fatalf("the node does not end\n%s", p.tail())
	}
}

// eventually asks again and again until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(d); ; {
		if ok() {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// alive reports whether a process runs; one that only waits to be collected
// does not.
func alive(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// epmeshCommand is epmesh with these arguments.
func epmeshCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(epmesh(t), args...)
	cmd.Env = plainEnviron()
	return cmd
}

// awaitStatus waits until epmesh status says so.
func awaitStatus(t *testing.T, text string, args ...string) {
	t.Helper()
	var last []byte
	defer func() {
		if t.Failed() {
			t.Logf("the status:\n%s", last)
		}
	}()
	eventually(t, "the status says: "+text, func() bool {
		last, _ = epmeshCommand(t, append([]string{"status"}, args...)...).CombinedOutput() // the error is in the text
		return strings.Contains(string(last), text)
	})
}

// plainEnviron is this process's environment without what is meant for the tests
// or for another node.
func plainEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "EPMESH_") })
}
