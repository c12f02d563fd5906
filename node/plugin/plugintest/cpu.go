package plugintest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// CPU is the processor time that the plugin and the test's own process have had
// so far, together: what benchmarks count on a machine where others run too.
func (p *Process) CPU() time.Duration {
	p.tb.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		p.tb.Fatalf("plugintest: %v", err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Skipf("plugintest: the processor time of another process is not to be had here: %v", err)
	}
	// After the name, which may hold anything, come the fields from the third on.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3
	const tick = time.Second / 100 // on every Linux that Go runs on
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, field := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			p.tb.Fatalf("plugintest: %v", err)
		}
		total += time.Duration(n) * tick
	}
	return total
}
