package integration

import (
	endian "encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A machine has one clock, and moving it would move everybody's. So the programs
// whose clock is to jump are built with a time.Now that adds what a file says,
// by the overlay of go build. The monotonic clock goes on as it does when a
// daemon steps the real one.
const (
	clockEnv  = "FAULTY_CLOCK"
	clockCode = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var jump = func() *int64 {
	name, _ := syscall.Getenv("` + clockEnv + `")
	if name == "" {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic("` + clockEnv + `: " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + clockEnv + `: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}()

// jumped is in seconds.
func jumped() int64 { return atomic.LoadInt64(jump) }
`
	clockLine = "sec, nsec, mono := runtimeNow()\n"
)

// clock is what one program of clockBuilds adds to the true time.
type clock struct{ file string }

func newClock(t *testing.T) clock {
	c := clock{filepath.Join(t.TempDir(), "clock")}
	must(t, os.WriteFile(c.file, make([]byte, 8), 0o600))
	return c
}

// env has a program go by it; the zero clock is the true one.
func (c clock) env() string { return clockEnv + "=" + c.file }

// set has the clock differ from the true one.
func (c clock) set(t *testing.T, by time.Duration) {
	t.Helper()
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(endian.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))), 0)
	must(t, err)
}

// clockBuilds are programs with a clock that can be set.
type clockBuilds struct {
	node   string // epmesh
	server string // this test binary, to be a NATS server
}

// buildClocks builds all of the standard library again, which takes minutes the
// first time.
func buildClocks(t *testing.T) *clockBuilds {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(folder, "time.go"))
	must(t, err)
	if strings.Count(string(source), clockLine) == 0 {
		t.Fatalf("this Go's time.Now has no line %q", clockLine)
	}
	replace := map[string]string{}
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(source), clockLine, clockLine+"\tsec += jumped()\n", 1), "jump.go": clockCode,
	} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		replace[filepath.Join(folder, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	file := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(file, overlay, 0o600))
	b := &clockBuilds{node: filepath.Join(dir, "epmesh"), server: filepath.Join(dir, "server")}
	for _, build := range [][]string{
		{"build", "-overlay", file, "-o", b.node, "../cmd/epmesh"},
		{"test", "-c", "-overlay", file, "-o", b.server, "."},
	} {
		if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(build, " "), err, out)
		}
	}
	return b
}
