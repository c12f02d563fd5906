package syslog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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
	closeWait = 3 * time.Second
)

// server is the running plugin.
type server struct {
	plugins.Instance
	settings

	in      *plugins.Input
	dropped atomic.Uint64 // UDP messages for which there was no room
	cut     atomic.Uint64 // messages over MaxLine
	refused atomic.Uint64 // TCP connections over MaxConnections
}

// Run listens until ctx ends. All addresses are bound before it takes anything,
// and each is announced by one line in the log, "listening" with network and
// address.
func (s *server) Run(ctx context.Context) error {
	var open []func(context.Context) error
	var closers []func() error
	var addresses []net.Addr
	for _, l := range s.Listeners {
		addr, work, end, err := s.bind(l)
		if err != nil {
			for _, c := range closers {
				c()
			}
			return fmt.Errorf("listen on %s %s: %w", l.Network, l.Listen, err)
		}
		open, closers, addresses = append(open, work), append(closers, end), append(addresses, addr)
	}
	// In one go: who has seen one may count on all.
	for i, l := range s.Listeners {
		s.Logger.Info("listening", "network", l.Network, "address", addresses[i].String(), "dataType", l.DataType)
	}
	in, err := plugins.NewInput(s.Sender())
	if err != nil {
		for _, c := range closers {
			c()
		}
		return err
	}
	s.in = in

	group, gctx := errgroup.WithContext(ctx)
	for _, work := range open {
		group.Go(func() error { return work(gctx) })
	}
	group.Go(func() error { return s.report(gctx) })
	group.Go(func() error {
		<-gctx.Done()
		for _, c := range closers {
			c()
		}
		return nil
	})
	err = group.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	if e := in.Close(end); e != nil {
		s.Logger.Warn("messages lost at the end", "error", e)
	}
	s.tell()
	return err
}

// bind opens one address and returns what serves it and what closes it.
func (s *server) bind(l listener) (addr net.Addr, work func(context.Context) error, end func() error, err error) {
	if l.Network == "udp" {
		addr, err := net.ResolveUDPAddr("udp", l.Listen)
		if err != nil {
			return nil, nil, nil, err
		}
		conn, err := net.ListenUDP("udp", addr)
		if err != nil {
			return nil, nil, nil, err
		}
		// Best effort: the kernel gives what net.core.rmem_max allows.
		_ = conn.SetReadBuffer(8 << 20)
		return conn.LocalAddr(), func(ctx context.Context) error { return s.serveUDP(ctx, conn, l.DataType) }, conn.Close, nil
	}
	ln, err := net.Listen("tcp", l.Listen)
	if err != nil {
		return nil, nil, nil, err
	}
	return ln.Addr(), func(ctx context.Context) error { return s.serveTCP(ctx, ln, l.DataType) }, ln.Close, nil
}

// log makes a log of one message. The message is copied.
func (s *server) log(msg []byte, from netip.AddrPort, dataType string) *plugins.Log {
	raw := strings.ToValidUTF8(string(msg), "\uFFFD")
	source := hostname(raw)
	if source == "" {
		source = from.Addr().Unmap().String()
	}
	return &plugins.Log{
		DataType: dataType, DataSource: source, TenantId: s.Tenant, Raw: raw,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
	}
}

// serveUDP reads as fast as messages come. What the node does not take in time
// waits in a queue; what finds it full is dropped, for a UDP sender cannot be
// told to wait.
func (s *server) serveUDP(ctx context.Context, conn *net.UDPConn, dataType string) error {
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

	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read UDP: %w", err)
		}
		msg := trim(buf[:n])
		if len(msg) > s.MaxLine {
			msg = msg[:s.MaxLine]
			s.cut.Add(1)
		}
		if len(msg) == 0 {
			continue
		}
		select {
		case queue <- s.log(msg, from, dataType):
		default:
			s.dropped.Add(1)
		}
	}
}

// serveTCP takes connections; each is read no faster than the node takes what
// it brings.
func (s *server) serveTCP(ctx context.Context, ln net.Listener, dataType string) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	room := make(chan struct{}, s.MaxConnections)
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept TCP: %w", err)
		}
		select {
		case room <- struct{}{}:
		default:
			s.refused.Add(1)
			conn.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-room }()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			if err := s.readConn(ctx, conn, dataType); err != nil && ctx.Err() == nil {
				s.Logger.Warn("connection closed", "from", conn.RemoteAddr().String(), "error", err)
			}
		})
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
	if dropped > 0 {
		s.Logger.Warn("UDP messages dropped: the node takes logs slower than they come", "dropped", dropped)
	}
	if cut > 0 {
		s.Logger.Warn("messages were cut to maxLine", "cut", cut, "maxLine", s.MaxLine)
	}
	if refused > 0 {
		s.Logger.Warn("TCP connections refused: more than maxConnections", "refused", refused, "maxConnections", s.MaxConnections)
	}
}
