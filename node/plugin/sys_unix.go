//go:build unix && !linux

package plugin

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processAttr gives a plugin a process group of its own. Only Linux can bind its
// life to the node's; elsewhere the guard alone sees to that.
func processAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitExit returns when the child pid has ended, without reaping it.
func waitExit(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq)
	change := []unix.Kevent_t{{Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT, Fflags: unix.NOTE_EXIT}}
	unix.SetKevent(&change[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	for {
		// An error means that the process has ended already.
		if _, err := unix.Kevent(kq, change, make([]unix.Kevent_t, 1), nil); err != unix.EINTR {
			return
		}
	}
}

func groupAlive(pgid int) bool { return syscall.Kill(-pgid, 0) == nil }

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}

// monotonic is a clock in nanoseconds, the same for all processes. Outside Linux
// it is the wall clock.
func monotonic() int64 { return time.Now().UnixNano() }
