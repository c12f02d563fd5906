package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	folderMode = 0o750
	socketMode = 0o660
)

// maxPath is the longest path of a Unix socket: sun_path less its final zero.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// socket is a listening Unix socket together with the right to its path, which
// is a lock on a file beside it.
type socket struct {
	*net.UnixListener
	path string
	self os.FileInfo
	lock *os.File
}

// openSocket listens on path. A socket that nobody serves is replaced. At no
// time can the socket be opened by more than its mode allows: it is made in a
// folder of its own and moved to path when it is as it should be.
func openSocket(path string, log hclog.Logger) (_ *socket, err error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path %s has %d bytes and a Unix socket's can have %d: choose a shorter work dir (--work-dir, WORK_DIR)",
			path, len(path), maxPath)
	}
	dir := filepath.Dir(path)
	if err := makeFolder(dir, log); err != nil {
		return nil, err
	}
	s := &socket{path: path}
	// Two nodes that start at once both find the socket stale; the lock, which
	// the kernel lets go of when its holder dies, decides between them.
	if s.lock, err = lockFile(filepath.Join(dir, ".engine.lock")); err != nil {
		return nil, inUse(path, err)
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := checkStale(path); err != nil {
		return nil, err
	}
	// What a node that was killed left behind.
	old, _ := filepath.Glob(filepath.Join(dir, ".e-*"))
	for _, o := range old {
		os.RemoveAll(o)
	}
	tmp, err := os.MkdirTemp(dir, ".e-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "s")
	if s.UnixListener, err = net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"}); err != nil {
		return nil, err
	}
	s.SetUnlinkOnClose(false) // it knows only the first path
	if err := os.Chmod(made, socketMode); err != nil {
		return nil, err
	}
	if s.self, err = os.Lstat(made); err != nil {
		return nil, err
	}
	if err := os.Rename(made, path); err != nil {
		return nil, err
	}
	return s, nil
}

// remove takes the socket off its path, if it is still the one that is there.
func (s *socket) remove() {
	if at, err := os.Lstat(s.path); err == nil && s.self != nil && os.SameFile(at, s.self) {
		os.Remove(s.path)
	}
}

// release closes all. The path may be another's from then on.
func (s *socket) release() {
	if s.UnixListener != nil {
		s.remove()
		s.Close()
	}
	s.lock.Close()
}

// makeFolder makes the folder of the sockets, or gives it its mode.
func makeFolder(dir string, log hclog.Logger) error {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm() == folderMode {
		return nil
	}
	keep := info.Mode() & (os.ModeSetgid | os.ModeSticky)
	if err := os.Chmod(dir, keep|folderMode); err != nil {
		log.Warn("the folder of the sockets should have mode 0750 and is another user's",
			"folder", dir, "mode", info.Mode().Perm(), "error", err)
	}
	return nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// checkStale is nil where path is free or a socket that nobody serves.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is no socket: move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		defer conn.Close()
		return served(path, peer(conn.(*net.UnixConn)))
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Full, not ours, or else: somebody may be there.
	return fmt.Errorf("%s is there, and whether it is served cannot be found out: %w: stop the process it belongs to, or remove it", path, err)
}

func inUse(path string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	pid := 0
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		pid = peer(conn.(*net.UnixConn))
		conn.Close()
	}
	return served(path, pid)
}

func served(path string, pid int) error {
	who := "another process"
	if pid > 0 {
		who = fmt.Sprintf("another process (pid %d)", pid)
	}
	return fmt.Errorf("%s is served by %s, likely another node: stop that one, or give this one a work dir of its own (--work-dir, WORK_DIR)", path, who)
}
