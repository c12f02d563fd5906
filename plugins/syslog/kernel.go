package syslog

import (
	"bufio"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelDrops is how many datagrams the system has thrown away for want of room
// before a UDP socket, since it was opened. ok is false where the system does not
// say, which only Linux does.
func kernelDrops(inode uint64) (drops uint64, ok bool) {
	for _, path := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		drops, ok = dropsOf(bufio.NewScanner(f), strconv.FormatUint(inode, 10))
		f.Close()
		if ok {
			return drops, true
		}
	}
	return 0, false
}

// dropsOf reads the table: the inode is the tenth field, the drops the last.
func dropsOf(table *bufio.Scanner, inode string) (uint64, bool) {
	for table.Scan() {
		fields := strings.Fields(table.Text())
		if len(fields) < 13 || fields[9] != inode {
			continue
		}
		n, err := strconv.ParseUint(fields[12], 10, 64)
		return n, err == nil
	}
	return 0, false
}

// socketInode is the number under which the system lists a socket.
func socketInode(conn *net.UDPConn) uint64 {
	var inode uint64
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) == nil {
			inode = st.Ino
		}
	})
	return inode
}
