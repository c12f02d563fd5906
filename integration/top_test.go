package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal, and what was written to it.
type terminal struct {
	ours, theirs *os.File
	done         chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func openTerminal(t *testing.T, columns, rows uint16) *terminal {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	fd := int(ours.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	theirs, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	x := &terminal{ours: ours, theirs: theirs, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		for buf := make([]byte, 4096); ; {
			n, err := ours.Read(buf) // fails once nobody has the other side
			x.mu.Lock()
			x.text.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { theirs.Close(); <-x.done; ours.Close() })
	return x
}

func (x *terminal) now() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// On a terminal top keeps to a page of its own and to its size, shows it again and
// again, and with Ctrl-C gives the terminal back as it was.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	dir := shortdir.New(t)
	startNode(t, dir).await()
	x := openTerminal(t, 70, 20)
	cmd := exec.Command(epmesh(t), "top", "--work-dir", dir, "--every", "200ms")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = x.theirs, x.theirs, x.theirs, plainEnviron()
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "three frames", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("top ended: %v\n%s", err, x.now())
		default:
		}
		return strings.Count(x.now(), "1 of 1 node ready") >= 3
	})
	must(t, cmd.Process.Signal(syscall.SIGINT))
	if err := <-ended; err != nil {
		t.Errorf("top ended with %v", err)
	}
	const enter, leave = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
	eventually(t, "the terminal is given back", func() bool { return strings.HasSuffix(x.now(), leave) })
	text := x.now()
	if !strings.HasPrefix(text, enter) || strings.Count(text, enter) != 1 || strings.Count(text, leave) != 1 {
		t.Errorf("it is not entered once and left once: %q", text)
	}
	for line := range strings.Lines(text) {
		for _, code := range []string{enter, leave, "\x1b[H", "\x1b[K", "\x1b[J"} {
			line = strings.ReplaceAll(line, code, "")
		}
		if line = strings.TrimRight(line, "\r\n"); len([]rune(line)) > 2*70 { // two frames meet in one
			t.Errorf("too wide: %q", line)
		}
	}
	if !strings.Contains(text, "parse") || !strings.Contains(text, "n1 ") {
		t.Errorf("it does not show node and stage: %q", text)
	}
}
