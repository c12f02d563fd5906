package plugin_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

func itoa(n int) string { return strconv.Itoa(n) }

// After a SIGKILL of the node nothing of its plugins is left, not even what they
// started and what does not hear SIGTERM; and a new node starts its own only
// then.
func TestNodeKilled(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	file := filepath.Join(work, "pids")
	node := exec.Command(os.Args[0], "role", "node", work, file)
	log, text := logger(t)
	_ = log
	node.Stderr = text
	// Its stderr stays open for as long as anything of it runs; that is not
	// what is waited for.
	node.WaitDelay = patience
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer node.Wait()
	defer node.Process.Kill()
	poll(t, "plugin and child", func() bool { return len(readLines(t, file)) == 2 })
	old := readLines(t, file)
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// A new node at once.
	next := filepath.Join(work, "next")
	ps, _, _ := newProcesses(t, work, nil)
	apply(t, ps, role("family", next))
	poll(t, "the new plugin", func() bool { return len(readLines(t, next)) > 0 })
	for _, pid := range old {
		if running(pid) {
			t.Errorf("%s still runs beside its successor", pid)
		}
	}
}

// A guard that somebody kills is started again and knows all groups.
func TestGuardKilled(t *testing.T) {
	work := filepath.Dir(socketDir(t))
	file := filepath.Join(work, "pids")
	node := exec.Command(os.Args[0], "role", "node", work, file)
	_, text := logger(t)
	node.Stderr = text
	node.WaitDelay = patience
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer node.Wait()
	defer node.Process.Kill()
	poll(t, "plugin and child", func() bool { return len(readLines(t, file)) == 2 })
	guards := guardsOf(t, work)
	if len(guards) != 1 {
		t.Fatalf("guards %v", guards)
	}
	pid, _ := strconv.Atoi(guards[0])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll(t, "another guard", func() bool {
		now := guardsOf(t, work)
		return len(now) == 1 && now[0] != guards[0] && lockHeld(t, work)
	})
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the end of all", func() bool {
		for _, pid := range readLines(t, file) {
			if running(pid) {
				return false
			}
		}
		return len(guardsOf(t, work)) == 0
	})
}

// guardsOf are the running guards of a work dir.
func guardsOf(t testing.TB, work string) (pids []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), "guard\x00"+work+"/") {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

func lockHeld(t testing.TB, work string) bool {
	f, err := os.Open(filepath.Join(work, "run", "guard.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return err == syscall.EWOULDBLOCK
}

// The guard's own rules: one at a time, all that is left is killed, what was
// taken back is not.
func TestRunGuard(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "guard.lock")
	start := func() (*io.PipeWriter, *io.PipeReader, chan error) {
		in, stdin := io.Pipe()
		stdout, out := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- plugin.RunGuard(in, out, lock) }()
		return stdin, stdout, done
	}
	child := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd
	}
	left, taken, early := child(), child(), child()
	stdin, stdout, done := start()
	ready := make([]byte, 6)
	if _, err := io.ReadFull(stdout, ready); err != nil || string(ready) != "ready\n" {
		t.Fatalf("%q %v", ready, err)
	}
	// A second waits; it ends with its node, and does its duty without the lock.
	stdin2, _, done2 := start()
	for _, line := range []string{"+" + itoa(early.Process.Pid), "nonsense", "", "+1", "+-5", "-"} {
		if _, err := io.WriteString(stdin2, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	stdin2.Close()
	if err := <-done2; err != nil {
		t.Fatal(err)
	}
	if running(itoa(early.Process.Pid)) || !running(itoa(left.Process.Pid)) {
		t.Fatal("the second guard did not end its own, and only its own")
	}
	pids := []int{left.Process.Pid, taken.Process.Pid}
	for _, line := range []string{"+" + itoa(pids[0]), "+" + itoa(pids[1]), "-" + itoa(pids[1])} {
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	stdin.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if running(itoa(pids[0])) || !running(itoa(pids[1])) {
		t.Error("the guard did not kill what was left, and only that")
	}
	if err := plugin.RunGuard(strings.NewReader(""), io.Discard, filepath.Join(lock, "no")); err == nil {
		t.Error("no error for a lock that cannot be")
	}
}

// A guard that cannot run is an error, not a node without one.
func TestNoGuard(t *testing.T) {
	for _, argv := range [][]string{{"/does/not/exist"}, {"/bin/false"}} {
		ps := plugin.NewProcesses(plugin.ProcessOptions{WorkDir: t.TempDir(), Guard: argv})
		if err := ps.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "guard") {
			t.Errorf("%v: %v", argv, err)
		}
	}
}

// A group whose time is over is killed, whatever the node does; one that was
// given more is not.
func TestGuardBounds(t *testing.T) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- plugin.RunGuard(in, out, filepath.Join(t.TempDir(), "guard.lock")) }()
	if _, err := io.ReadFull(stdout, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	var groups []*exec.Cmd
	for range 3 {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		groups = append(groups, cmd)
	}
	now, far := plugin.Monotonic(), int64(time.Hour)
	for _, line := range []string{
		fmt.Sprintf("+%d 0", groups[0].Process.Pid),
		fmt.Sprintf("+%d %d", groups[1].Process.Pid, now+far),
		fmt.Sprintf("+%d %d", groups[2].Process.Pid, now+far),
		fmt.Sprintf("+%d %d", groups[2].Process.Pid, now+1),
	} {
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "the end of the one", func() bool { return !running(itoa(groups[2].Process.Pid)) })
	if !running(itoa(groups[0].Process.Pid)) || !running(itoa(groups[1].Process.Pid)) {
		t.Error("one that had time was killed")
	}
	stdin.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
