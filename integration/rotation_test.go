package integration

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// written is the ledger of what was given to the inputs: owed to nobody but the
// writers themselves.
type written struct {
	mu    sync.Mutex
	lines map[string]bool
}

func (w *written) add(lines ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lines {
		w.lines[l] = true
	}
}

func (w *written) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lines)
}

// rotated is a log file that is written to and rotated by a goroutine: renamed,
// or copied and truncated while nothing is written, and compressed the second
// time, as logrotate does with compress and delaycompress.
type rotated struct {
	path     string
	truncate bool
	ledger   *written
	stop     <-chan struct{}
	count    int // rotations
	packed   int
}

func (r *rotated) run() error {
	f, err := r.open()
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-r.stop:
			return nil
		case <-tick.C:
		}
		if n%60 == 59 {
			if f, err = r.rotate(f); err != nil {
				return fmt.Errorf("rotate %s: %w", r.path, err)
			}
		}
		if err := r.write(f, n); err != nil {
			return err
		}
	}
}

func (r *rotated) open() (*os.File, error) {
	return os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// write appends a few lines, in two pieces.
func (r *rotated) write(f *os.File, n int) error {
	var lines []string
	for i := range 5 {
		lines = append(lines, fmt.Sprintf("%s %06d-%d %s", filepath.Base(r.path), n, i, strings.Repeat("x", 20+(n+i)%60)))
	}
	text := strings.Join(lines, "\n") + "\n"
	r.ledger.add(lines...)
	for _, piece := range []string{text[:len(text)/2], text[len(text)/2:]} {
		if _, err := io.WriteString(f, piece); err != nil {
			return err
		}
	}
	return nil
}

func (r *rotated) rotate(f *os.File) (*os.File, error) {
	// The numbers move up; the second becomes compressed.
	for n := r.count; n >= 1; n-- {
		for _, ext := range []string{"", ".gz"} {
			old := fmt.Sprintf("%s.%d%s", r.path, n, ext)
			if _, err := os.Stat(old); err == nil {
				if err := os.Rename(old, fmt.Sprintf("%s.%d%s", r.path, n+1, ext)); err != nil {
					return f, err
				}
			}
		}
	}
	r.count++
	if r.truncate {
		if err := copyFile(r.path, r.path+".1"); err != nil {
			return f, err
		}
		if err := os.Truncate(r.path, 0); err != nil {
			return f, err
		}
	} else {
		if err := os.Rename(r.path, r.path+".1"); err != nil {
			return f, err
		}
		if err := r.write(f, 1_000_000+r.count); err != nil { // its writer has not opened it anew yet
			return f, err
		}
		f.Close()
		var err error
		if f, err = r.open(); err != nil {
			return f, err
		}
	}
	return f, r.pack(r.path + ".2")
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// pack compresses a file as gzip does: beside it, which is then removed.
func (r *rotated) pack(path string) error {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path+".gz", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	z := gzip.NewWriter(out)
	for len(text) > 0 {
		n := min(len(text), 8192)
		if _, err := z.Write(text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	if err := z.Close(); err != nil {
		return err
	}
	r.packed++
	return os.Remove(path)
}

// chunks sends syslog the documented way: a chunk, its half of the connection
// closed, and a wait for the other half; on anything but an end of file the same
// bytes again.
type chunks struct {
	addr   string
	ledger *written
	stop   <-chan struct{}
	// What it came to.
	sent, again int
	stall       time.Duration
}

func (c *chunks) run() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return nil
		case <-tick.C:
		}
		var lines []string
		for i := range 40 {
			lines = append(lines, fmt.Sprintf("<13>1 2026-11-26T10:%02d:%02d.%06dZ host-%d app %d - - message %d-%d", n/60%60, n%60, i+1, i%3, n, n, i))
		}
		c.ledger.add(lines...)
		began := time.Now()
		for !c.deliver(lines, n%2 == 0) {
			c.again++
			if time.Since(began) > patience {
				return fmt.Errorf("chunk %d is never stored", n)
			}
			<-tick.C
		}
		c.sent++
		c.stall = max(c.stall, time.Since(began))
	}
}

// deliver reports whether all of a chunk is stored.
func (c *chunks) deliver(lines []string, counted bool) bool {
	conn, err := net.DialTimeout("tcp", c.addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	for _, l := range lines {
		frame := l + "\n"
		if counted {
			frame = strconv.Itoa(len(l)) + " " + l
		}
		if _, err := io.WriteString(conn, frame); err != nil {
			return false
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return false
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	return err == io.EOF
}

// tally holds the events against the ledger.
type tally struct{ written, events, distinct, repeated, split, lost, unknown int }

func (t tally) String() string {
	return fmt.Sprintf("written %d, events %d, distinct lines in them %d, repeated with the same id %d, repeated with another id %d, lost %d, never written %d",
		t.written, t.events, t.distinct, t.repeated, t.split, t.lost, t.unknown)
}

func hold(t *testing.T, w *written, folder string) tally {
	t.Helper()
	ids, of := map[string]map[string]int{}, map[string]string{}
	sum := tally{written: w.count()}
	for _, e := range records(t, folder, "archive.raws", 2) {
		raw, err := url.QueryUnescape(e[1])
		if err != nil {
			t.Fatal(err)
		}
		if ids[raw] == nil {
			ids[raw] = map[string]int{}
		}
		ids[raw][e[0]]++
		if of[e[0]] != "" && of[e[0]] != raw {
			t.Fatalf("%q and %q have the same id", of[e[0]], raw)
		}
		of[e[0]] = raw
		sum.events++
	}
	var lost, split []string
	for raw, seen := range ids {
		if !w.lines[raw] {
			sum.unknown++
			t.Logf("never written: %.100q", raw)
			continue
		}
		sum.distinct++
		for _, n := range seen {
			sum.repeated += n - 1
		}
		if len(seen) > 1 {
			split = append(split, raw)
		}
	}
	for line := range w.lines {
		if ids[line] == nil {
			lost = append(lost, line)
		}
	}
	slices.Sort(lost)
	slices.Sort(split)
	sum.split, sum.lost = len(split), len(lost)
	for what, list := range map[string][]string{"lost": lost, "repeated with another id": split} {
		if len(list) > 0 {
			t.Errorf("%d lines are %s: %.60q ... %.60q", len(list), what, list[0], list[len(list)-1])
		}
	}
	if sum.unknown > 0 {
		t.Errorf("%d events are of no line", sum.unknown)
	}
	return sum
}

// missing is how many lines no event has yet.
func missing(t *testing.T, w *written, folder string) int {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range records(t, folder, "archive.raws", 2) {
		seen[e[1]] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for line := range w.lines {
		if !seen[url.QueryEscape(line)] {
			n++
		}
	}
	return n
}

// freeAddress is an address of this machine that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// bundledPID is the process of a bundled plugin of the node in dir, or 0.
func bundledPID(dir, name string) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(env), "WORK_DIR="+dir+"\x00") || !strings.Contains(string(env), "EPMESH_PLUGIN_NAME="+name+"\x00") {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && strings.Contains(string(args), "plugin\x00run\x00") && alive(strconv.Itoa(pid)) {
			return pid
		}
	}
	return 0
}

// tailSetup is a node with file and syslog, and an output plugin that writes
// down what comes of them.
func tailSetup(t *testing.T, dir, logs, addr string) (folder string) {
	t.Helper()
	folder = filepath.Join(dir, "records")
	configure(t, dir, fmt.Sprintf(`
plugins:
  files:
    bundled: file
    dataType: lines
    paths: [%s, %s]
  net:
    bundled: syslog
    listeners:
      - {listen: %q, network: tcp, dataType: lines}
  output: {order: [archive]}
`, filepath.Join(logs, "renamed.log*"), filepath.Join(logs, "copied.log*"), addr))
	program{Kind: plugin.Output, Name: "archive", Records: folder, Raw: true}.install(t, dir)
	return folder
}

// roundsOf is EPMESH_ROUNDS, or n.
func roundsOf(t *testing.T, n int) int {
	t.Helper()
	text := cmp.Or(os.Getenv("EPMESH_ROUNDS"), strconv.Itoa(n))
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EPMESH_ROUNDS: %q is no number of rounds", text)
	}
	return n
}
