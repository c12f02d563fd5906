package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// unixListener removes its socket on Close only while it is still its own: a
// process that ends late must not take away its successor's.
type unixListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// listenUnix listens on path. A socket that nobody answers on is a leftover and
// is replaced; one that somebody answers on is an error.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make sockets folder: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	own := &unixListener{UnixListener: l, path: path}
	if err := os.Chmod(path, 0o660); err != nil {
		own.Close()
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if own.info, err = os.Lstat(path); err != nil {
		own.Close()
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return own, nil
}

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && (l.info == nil || os.SameFile(now, l.info)) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("open socket: %s is there and is no socket: move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("open socket: another process serves %s: stop it, or give this plugin another name", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
