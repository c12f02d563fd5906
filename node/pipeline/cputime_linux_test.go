package pipeline

import (
	"syscall"
	"time"
)

// cpuTime is the processor time that this process took so far, the garbage
// collector's with it. Others who use the machine do not show in it.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
