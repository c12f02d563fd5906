package syslog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/epmesh/epmesh/plugins"
)

// serveUDP reads as fast as messages come. What the node does not take in time
// waits in a queue; what finds it full is dropped, for a UDP sender cannot be
// told to wait.
func (s *server) serveUDP(ctx context.Context, conn *net.UDPConn, l listener) error {
	queue := make(chan *plugins.Log, s.Queue)
	var sending sync.WaitGroup
	sending.Go(func() {
		for log := range queue {
			if err := s.in.Send(ctx, log); err != nil {
				if ctx.Err() == nil {
					s.Logger.Error("message lost", "error", err)
				}
				s.dropped.Add(1)
			}
		}
	})
	defer sending.Wait()
	defer close(queue)

	id := datagramIDs(l)
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read UDP: %w", err)
		}
		msg := s.bound(trim(buf[:n]))
		if len(msg) == 0 {
			continue
		}
		log := s.log(msg, l, host(from))
		id.set(log)
		select {
		case queue <- log:
		default:
			s.dropped.Add(1)
		}
	}
}

// datagramIDs is an identity for what has no connection: nobody sends a datagram
// again, so nothing is to be known again unless the settings ask for it.
func datagramIDs(l listener) *identity {
	if l.IDs == "auto" {
		return &identity{mode: "random"}
	}
	return &identity{mode: l.IDs}
}

// bound cuts a message that is too long, and counts it.
func (s *server) bound(msg []byte) []byte {
	if len(msg) > s.MaxLine {
		s.cut.Add(1)
		return msg[:s.MaxLine]
	}
	return msg
}

// serveUnix reads no faster than the node takes: the system makes the senders of
// a full Unix socket wait.
func (s *server) serveUnix(ctx context.Context, conn *net.UnixConn, l listener) error {
	id := datagramIDs(l)
	// One byte more shows that a datagram was longer.
	buf := make([]byte, s.MaxLine+1)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read Unix socket: %w", err)
		}
		msg := trim(s.bound(buf[:n]))
		if len(msg) == 0 {
			continue
		}
		log := s.log(msg, l, s.Host)
		id.set(log)
		if err := s.in.Send(ctx, log); err != nil {
			if ctx.Err() == nil {
				s.Logger.Error("message lost", "error", err)
			}
			s.dropped.Add(1)
		}
	}
}

// listenUnix binds a datagram socket, in the place of one that nobody serves any
// more.
func listenUnix(path, mode string) (*net.UnixConn, error) {
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, errors.New("something that is no socket is in its place: remove it or choose another path")
		}
		if c, err := net.DialUnix("unixgram", nil, addr); err == nil {
			c.Close()
			return nil, errors.New("another process serves it")
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		return nil, err
	}
	m, err := strconv.ParseUint(mode, 8, 32)
	if err == nil {
		err = os.Chmod(path, fs.FileMode(m))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// udpSocket is a bound UDP address whose drops are watched.
type udpSocket struct {
	inode uint64
	seen  atomic.Uint64
}

// lost is how many datagrams the system threw away since the last call.
func (u *udpSocket) lost() uint64 {
	now, ok := kernelDrops(u.inode)
	if !ok {
		return 0
	}
	return now - u.seen.Swap(now)
}

func host(from netip.AddrPort) string { return from.Addr().Unmap().String() }
