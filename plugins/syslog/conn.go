package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// handshakeWait bounds the TLS handshake, and drainWait how long a stopping
	// plugin goes on reading what is under way.
	handshakeWait = 10 * time.Second
	drainWait     = 500 * time.Millisecond
	// sendWait is how long the node may take, on stop, to take what was read.
	sendWait = 700 * time.Millisecond
	// aheadBytes bounds what of one connection waits for the node.
	aheadBytes = 4 << 20
)

// stream is one connection. How it ends tells the sender what became of its
// messages: an end of file after all are stored, a reset in any other case, also
// when this process or its machine's kernel ends it.
type stream struct {
	s    *server
	l    listener
	conn net.Conn
	tcp  *net.TCPConn
	from string // the data source where a header names none
	ids  identity

	ahead *semaphore.Weighted // messages that wait for the node
	room  *semaphore.Weighted // and their bytes
}

// serveStream takes connections of a TCP or TLS listener; each is read no faster
// than the node takes what it brings.
func (s *server) serveStream(ctx context.Context, ln net.Listener, l listener, certs *certificates) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	room := make(chan struct{}, s.MaxConnections)
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if temporary(err) {
				s.Logger.Error("cannot take connections for a moment", "error", err)
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			return fmt.Errorf("accept TCP: %w", err)
		}
		tcp := conn.(*net.TCPConn)
		_ = tcp.SetLinger(0) // whatever closes it from now on resets it
		select {
		case room <- struct{}{}:
		default:
			s.refused.Add(1)
			conn.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-room }()
			defer tcp.Close()
			st := &stream{
				s: s, l: l, conn: conn, tcp: tcp, ids: identity{mode: l.IDs},
				ahead: semaphore.NewWeighted(int64(s.ReadAhead)), room: semaphore.NewWeighted(aheadBytes),
			}
			if err := st.serve(ctx, certs); err != nil && ctx.Err() == nil {
				s.Logger.Warn("connection reset: what of it is not stored has to be sent again", "from", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// temporary is an error that goes away as connections end.
func temporary(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// serve reads the connection to its end. It returns an error where the sender
// cannot count on all.
func (st *stream) serve(ctx context.Context, certs *certificates) error {
	if from, err := netip.ParseAddrPort(st.conn.RemoteAddr().String()); err == nil {
		st.from = host(from)
	}
	if certs != nil {
		if err := st.handshake(ctx, certs); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
	}
	// On stop what is under way is still read, for a while.
	stop := context.AfterFunc(ctx, func() { _ = st.conn.SetReadDeadline(time.Now().Add(drainWait)) })
	defer stop()
	// The logs that were read are waited for also when reading ends.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(sendWait, cancel) })()

	err := st.read(ctx, sending)
	if ctx.Err() != nil {
		return ctx.Err() // reset: it may have more that we have not read
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err := st.ahead.Acquire(sending, int64(st.s.ReadAhead)); err != nil {
		return err
	}
	// All places are free, all is stored. Only now the end is one that says so.
	if err := st.tcp.SetLinger(-1); err != nil {
		return err
	}
	_ = st.conn.Close() // how the sender leaves does not matter any more
	return nil
}

// handshake takes the connection on to TLS.
func (st *stream) handshake(ctx context.Context, certs *certificates) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	conn := tls.Server(st.tcp, certs.server())
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	st.conn = conn
	if names := peerNames(conn.ConnectionState().PeerCertificates); certs.PeerName && len(names) > 0 && st.l.DataSource == "" {
		st.l.DataSource = names[0]
	}
	return nil
}

// read sends what comes until the sender ends the connection, nothing comes for
// too long, or something is wrong.
func (st *stream) read(ctx, sending context.Context) error {
	in := newFrames(st.conn, st.s.MaxLine, st.l.Framing)
	for {
		if idle := st.s.IdleTimeout.D(); idle > 0 && ctx.Err() == nil {
			if err := st.conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
				return err
			}
			if ctx.Err() != nil { // stop has set its own between the two
				_ = st.conn.SetReadDeadline(time.Now().Add(drainWait))
			}
		}
		msg, err := in.next()
		if in.cut > 0 {
			st.s.cut.Add(uint64(in.cut))
			in.cut = 0
		}
		if err == nil && len(msg) > 0 {
			err = st.send(sending, msg)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// send waits for this connection's room and its turn, and takes the message on
// its way.
func (st *stream) send(ctx context.Context, msg []byte) error {
	log := st.s.log(msg, st.l, st.from)
	st.ids.set(log)
	size := min(int64(len(log.Raw)), aheadBytes)
	if err := st.ahead.Acquire(ctx, 1); err != nil {
		return err
	}
	if err := st.room.Acquire(ctx, size); err != nil {
		return err
	}
	// One at a time waits for the node's window, and a waiting mutex is given on
	// in the order of coming: so connections take turns.
	st.s.turn.Lock()
	err := st.s.in.SendFunc(ctx, log, func() {
		st.ahead.Release(1)
		st.room.Release(size)
	})
	st.s.turn.Unlock()
	return err
}
