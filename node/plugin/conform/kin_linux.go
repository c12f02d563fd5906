package conform

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// relative is a process, told from a later one of the same id by its start.
type relative struct {
	pid   int
	start string
}

func (r relative) alive() bool {
	s, ok := stat(strconv.Itoa(r.pid))
	return ok && s.start == r.start && s.state != 'Z' && s.state != 'X'
}

type procStat struct {
	state        byte
	parent, pgid int
	start        string
}

func stat(pid string) (procStat, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return procStat{}, false
	}
	// The name before the last parenthesis may hold anything.
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return procStat{}, false
	}
	var s procStat
	s.state = f[0][0]
	s.parent, _ = strconv.Atoi(string(f[1]))
	s.pgid, _ = strconv.Atoi(string(f[2]))
	s.start = string(f[19])
	return s, true
}

// processes are all that /proc shows.
func processes() map[int]procStat {
	all := map[int]procStat{}
	proc, err := os.Open("/proc")
	if err != nil {
		return all
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, ok := stat(name); ok {
			all[pid] = s
		}
	}
	return all
}

// descendants are the children of a process, and theirs, whatever group they
// are in.
func descendants(pid int) []relative {
	all := processes()
	var list []relative
	for next := []int{pid}; len(next) > 0; {
		parent := next[0]
		next = next[1:]
		for id, s := range all {
			if s.parent == parent {
				list = append(list, relative{id, s.start})
				next = append(next, id)
			}
		}
	}
	return list
}

// memory is what a process and its descendants have in memory, in bytes; 0 where
// that cannot be known.
func memory(pid int) int64 {
	pids := []int{pid}
	for _, d := range descendants(pid) {
		pids = append(pids, d.pid)
	}
	var pages int64
	for _, id := range pids {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "statm"))
		if f := bytes.Fields(text); err == nil && len(f) > 1 {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			pages += n
		}
	}
	return pages * int64(os.Getpagesize())
}
