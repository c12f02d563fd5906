package plugins

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The kit's end of the cursor socket; the node's is tested with real nodes.
func TestCursor(t *testing.T) {
	t.Setenv("EPMESH_CURSOR", "")
	if _, err := OpenCursor(); err == nil || !strings.Contains(err.Error(), "mesh.singletons") {
		t.Errorf("not a singleton: %v", err)
	}
	dir, err := os.MkdirTemp("", "cur")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	values, epoch := map[string]string{}, "41"
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Epmesh-Epoch") != epoch {
			http.Error(w, "superseded", http.StatusConflict)
			return
		}
		body, _ := io.ReadAll(r.Body)
		value, ok := values[r.URL.Path]
		switch {
		case len(body) > 10:
			http.Error(w, "it is too large", http.StatusRequestEntityTooLarge)
		case r.Method == http.MethodPut:
			values[r.URL.Path] = string(body)
		case r.Method == http.MethodDelete:
			delete(values, r.URL.Path)
		case !ok:
			http.Error(w, "none", http.StatusNotFound)
		default:
			_, _ = io.WriteString(w, value)
		}
	}))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	t.Setenv("EPMESH_CURSOR", socket)
	t.Setenv("EPMESH_LEASE", "singleton.x")
	t.Setenv("EPMESH_EPOCH", "41")
	c, err := OpenCursor()
	if err != nil {
		t.Fatal(err)
	}
	if c.Epoch() != 41 || c.Lease() != "singleton.x" {
		t.Errorf("epoch %d of %s", c.Epoch(), c.Lease())
	}
	get := func(want string) {
		t.Helper()
		if v, err := c.Get(t.Context(), "page a/b?c"); err != nil || string(v) != want {
			t.Errorf("get: %q %v, want %q", v, err, want)
		}
	}
	put := func(value string) error { return c.Put(t.Context(), "page a/b?c", []byte(value)) }
	get("")
	if err := put("1"); err != nil {
		t.Fatal(err)
	}
	get("1")
	if err := put(strings.Repeat("x", 11)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("too large: %v", err)
	}
	if err := put(""); err != nil {
		t.Fatal(err)
	}
	get("")
	epoch = "42"
	if err := put("2"); !errors.Is(err, ErrSuperseded) {
		t.Errorf("superseded: %v", err)
	}
	if _, err := c.Get(t.Context(), "page"); !errors.Is(err, ErrSuperseded) {
		t.Errorf("superseded: %v", err)
	}
}

// The documentation's client in Python works.
func TestCursorInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	text, err := os.ReadFile("../docs/singletons.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	if program == nil {
		t.Fatal("no program")
	}
	dir, err := os.MkdirTemp("", "cur")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	// The processes between put in no order that the race detector sees.
	var mu sync.Mutex
	value, status := "", http.StatusOK
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Header.Get("Epmesh-Epoch") != "5" || r.URL.Path != "/page":
			http.Error(w, "no", http.StatusBadRequest)
		case status != http.StatusOK:
			http.Error(w, "no", status)
		case r.Method == http.MethodPut:
			value = string(body)
			w.WriteHeader(http.StatusNoContent)
		case value == "":
			http.Error(w, "none", http.StatusNotFound)
		default:
			_, _ = io.WriteString(w, value)
		}
	}))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	run := func() ([]byte, error) {
		cmd := exec.Command(python, "-c", string(program[1]))
		cmd.Env = []string{"EPMESH_EPOCH=5", "EPMESH_CURSOR=" + filepath.Join(dir, "s")}
		return cmd.CombinedOutput()
	}
	for _, want := range []string{"1", "2"} {
		out, err := run()
		mu.Lock()
		if err != nil || value != want {
			t.Errorf("%v: page %q, want %q\n%s", err, value, want, out)
		}
		mu.Unlock()
	}
	mu.Lock()
	status = http.StatusConflict
	mu.Unlock()
	if out, err := run(); err == nil || !strings.Contains(string(out), "superseded") {
		t.Errorf("%v %s", err, out)
	}
}
