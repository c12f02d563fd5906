//go:build !linux

package engine

import "net"

// peer is the process id at the other end, or 0 where it cannot be had.
func peer(*net.UnixConn) int { return 0 }
