package syslog

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// readConn sends what comes on one connection until it ends. While the node
// takes nothing, nothing is read, and the sender feels it.
func (s *server) readConn(ctx context.Context, conn net.Conn, dataType string) error {
	from, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	in := newFrames(conn, s.MaxLine)
	for {
		if s.IdleTimeout > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(s.IdleTimeout.D())); err != nil {
				return err
			}
		}
		msg, err := in.next()
		if in.cut > 0 {
			s.cut.Add(uint64(in.cut))
			in.cut = 0
		}
		if err == nil && len(msg) > 0 {
			err = s.in.Send(ctx, s.log(msg, from, dataType))
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default:
			return err
		}
	}
}
