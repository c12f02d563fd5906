package plugin

import (
	"syscall"
	"time"
)

// killGroup signals a whole process group. One that is gone is no error.
func killGroup(pgid int, sig syscall.Signal) {
	if pgid > 1 {
		_ = syscall.Kill(-pgid, sig)
	}
}

// awaitGroup reports whether no member of the group runs any more, for which it
// waits until the deadline.
func awaitGroup(pgid int, deadline time.Time) bool {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if !groupAlive(pgid) {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}
