package syslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"golang.org/x/sync/errgroup"
)

const (
	// reportEvery is how often drops and cut messages are logged, if there were
	// any.
	reportEvery = 10 * time.Second
	// closeWait is how long a stopping plugin waits for the last Acks.
	closeWait = 800 * time.Millisecond
)

// server is the running plugin.
type server struct {
	plugins.Instance
	settings

	in   *plugins.Input
	turn sync.Mutex // of streams, to wait for the node
	udp  []*udpSocket

	dropped atomic.Uint64 // datagrams for which there was no room
	cut     atomic.Uint64 // messages over MaxLine
	refused atomic.Uint64 // connections over MaxConnections
}

// bound is an address that is listened on.
type bound struct {
	listener
	address string
	work    func(context.Context) error
	close   func() error
}

// Run listens until ctx ends. All addresses are bound before it takes anything,
// and each is announced by one line in the log, "listening" with network and
// address.
func (s *server) Run(ctx context.Context) error {
	var open []bound
	closeAll := func() {
		for _, b := range open {
			_ = b.close()
		}
	}
	for _, l := range s.Listeners {
		b, err := s.bind(l)
		if err != nil {
			closeAll()
			return fmt.Errorf("listen on %s %s: %w", l.Network, l.Listen, err)
		}
		open = append(open, b)
	}
	// In one go: who has seen one may count on all.
	for _, b := range open {
		s.Logger.Info("listening", "network", b.Network, "address", b.address, "dataType", b.DataType)
	}
	in, err := plugins.NewInput(s.Sender())
	if err != nil {
		closeAll()
		return err
	}
	s.in = in

	group, gctx := errgroup.WithContext(ctx)
	for _, b := range open {
		group.Go(func() error { return b.work(gctx) })
	}
	group.Go(func() error { return s.report(gctx) })
	group.Go(func() error {
		<-gctx.Done()
		closeAll()
		return nil
	})
	err = group.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	if e := in.Close(end); e != nil {
		s.Logger.Warn("stopped before the node stored all", "error", e)
	}
	s.tell()
	return err
}

// bind opens one address.
func (s *server) bind(l listener) (bound, error) {
	b := bound{listener: l}
	switch l.Network {
	case "udp":
		addr, err := net.ResolveUDPAddr("udp", l.Listen)
		if err != nil {
			return b, err
		}
		conn, err := net.ListenUDP("udp", addr)
		if err != nil {
			return b, err
		}
		// Best effort: the kernel gives what net.core.rmem_max allows.
		_ = conn.SetReadBuffer(8 << 20)
		s.udp = append(s.udp, &udpSocket{inode: socketInode(conn)})
		b.address, b.close = conn.LocalAddr().String(), conn.Close
		b.work = func(ctx context.Context) error { return s.serveUDP(ctx, conn, l) }
	case "unixgram":
		conn, err := listenUnix(l.Listen, l.Mode)
		if err != nil {
			return b, err
		}
		b.address = l.Listen
		b.close = func() error { return errors.Join(conn.Close(), os.Remove(l.Listen)) }
		b.work = func(ctx context.Context) error { return s.serveUnix(ctx, conn, l) }
	default:
		var certs *certificates
		if l.Network == "tls" {
			var err error
			if certs, err = newCertificates(l.TLS, s.Logger); err != nil {
				return b, err
			}
		}
		ln, err := net.Listen("tcp", l.Listen)
		if err != nil {
			return b, err
		}
		b.address, b.close = ln.Addr().String(), ln.Close
		b.work = func(ctx context.Context) error { return s.serveStream(ctx, ln, l, certs) }
	}
	return b, nil
}

// log makes a log of one message, which is copied. from is its source where
// neither the listener nor the header names one.
func (s *server) log(msg []byte, l listener, from string) *plugins.Log {
	raw := strings.ToValidUTF8(string(msg), "\uFFFD")
	source := l.DataSource
	if source == "" {
		source = cmp.Or(hostname(raw), from)
	}
	return &plugins.Log{
		DataType: l.DataType, DataSource: source, TenantId: cmp.Or(l.Tenant, s.Tenant), Raw: raw,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
	}
}

// report logs what was lost, now and then.
func (s *server) report(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tell()
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *server) tell() {
	dropped, cut, refused := s.dropped.Swap(0), s.cut.Swap(0), s.refused.Swap(0)
	var kernel uint64
	for _, u := range s.udp {
		kernel += u.lost()
	}
	if kernel > 0 {
		s.Logger.Warn("UDP messages dropped by the system: they came faster than they were read; raise net.core.rmem_max", "dropped", kernel)
	}
	if dropped > 0 {
		s.Logger.Warn("datagrams dropped: the node takes logs slower than they come", "dropped", dropped)
	}
	if cut > 0 {
		s.Logger.Warn("messages were cut to maxLine", "cut", cut, "maxLine", s.MaxLine)
	}
	if refused > 0 {
		s.Logger.Warn("connections refused: more than maxConnections", "refused", refused, "maxConnections", s.MaxConnections)
	}
}
