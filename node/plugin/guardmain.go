package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// guardReady is the line a guard writes when it has the lock.
	guardReady = "ready\n"
	// guardLimit is how long a guard tries to end what a node left behind.
	guardLimit = 10 * time.Second
	lockPause  = 20 * time.Millisecond
	// killAgain is between two attempts at a group whose time is over.
	killAgain = 100 * time.Millisecond
)

// GuardMain is the whole of the guard's process (see RunGuard), started with the
// lock's path. It returns the exit code.
func GuardMain(lockPath string) int {
	// It ends with the node, not with what is sent to all of a terminal or a
	// unit; and the node that reads its output may be gone.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if err := RunGuard(os.Stdin, os.Stdout, lockPath); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// RunGuard is told the process groups of a node's plugins and kills those that
// are left when the node ends, however it ends: stdin is a pipe from the node,
// and its end is the node's. A group may be bound in time besides: it is killed
// then, whether or not the node can do anything.
//
// It holds the lock from before it writes a line to ready until nothing is left,
// so that a new node, whose guard waits for the lock, starts no plugin twice.
func RunGuard(stdin io.Reader, ready io.Writer, lockPath string) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(stdin)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	groups := make(map[int]int64)
	lock, err := lockGuard(lockPath, lines, groups)
	if lock == nil || err != nil {
		return err
	}
	defer lock.Close()
	// Nobody reads this any more if the node has ended; then stdin has too.
	_, _ = io.WriteString(ready, guardReady)
	for {
		var due <-chan time.Time
		if wait, ok := nextDue(groups); ok {
			due = time.After(wait)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				return endGroups(groups)
			}
			note(groups, line)
		case <-due:
			for pgid, until := range groups {
				if now := monotonic(); until > 0 && now >= until {
					killGroup(pgid, syscall.SIGKILL)
					// Again, until the node has seen its end: it may have forked.
					groups[pgid] = now + int64(killAgain)
				}
			}
		}
	}
}

// nextDue is how long it is until a group has to be killed.
func nextDue(groups map[int]int64) (wait time.Duration, ok bool) {
	now := monotonic()
	for _, until := range groups {
		left := time.Duration(max(until-now, 0))
		if until > 0 && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return wait, ok
}

// lockGuard waits for the lock. It returns no file if the node ended first and
// left nothing.
func lockGuard(path string, lines <-chan string, groups map[int]int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the guard's lock: %w", err)
	}
	ticker := time.NewTicker(lockPause)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				f.Close()
				return nil, endGroups(groups)
			}
			note(groups, line)
		case <-ticker.C:
		}
	}
}

// note takes one line: "+<process group> <until>" or "-<process group> 0".
func note(groups map[int]int64, line string) {
	if len(line) < 2 {
		return
	}
	group, bound, _ := strings.Cut(line[1:], " ")
	pgid, err := strconv.Atoi(group)
	if err != nil || pgid <= 1 {
		return
	}
	until, err := strconv.ParseInt(bound, 10, 64)
	if err != nil && bound != "" {
		return
	}
	switch line[0] {
	case '+':
		groups[pgid] = until
	case '-':
		delete(groups, pgid)
	}
}

// endGroups kills all groups and waits until they are gone.
func endGroups(groups map[int]int64) error {
	for pgid := range groups {
		killGroup(pgid, syscall.SIGKILL)
	}
	deadline := time.Now().Add(guardLimit)
	var errs []error
	for pgid := range groups {
		for !awaitGroup(pgid, time.Now().Add(100*time.Millisecond)) {
			if time.Now().After(deadline) {
				errs = append(errs, fmt.Errorf("process group %d does not end", pgid))
				break
			}
			// What was forked while it was killed.
			killGroup(pgid, syscall.SIGKILL)
		}
	}
	return errors.Join(errs...)
}
