package httpin

import (
	"net"
	"sync"
)

// capped is a listener with at most so many open connections. Further ones wait
// in the kernel's queue until one ends, which the time-outs see to.
func capped(l net.Listener, most int) net.Listener {
	return &cappedListener{Listener: l, room: make(chan struct{}, most), done: make(chan struct{})}
}

type cappedListener struct {
	net.Listener
	room  chan struct{}
	once  sync.Once
	done  chan struct{}
	ended error
}

func (l *cappedListener) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &cappedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

func (l *cappedListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.ended = l.Listener.Close()
	})
	return l.ended
}

type cappedConn struct {
	net.Conn
	leave func()
}

func (c *cappedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
