package integration

import (
	"net"
	"sync"
	"testing"
)

// way is a TCP connection's way from one process to another, which can be cut:
// connections break and none is made; or stalled: whatever is sent goes nowhere,
// and nobody is told.
type way struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu      sync.Mutex
	cut     bool
	gate    chan struct{} // closed while bytes may pass
	conns   map[net.Conn]struct{}
	stopped bool
}

// newWay makes the way to an address.
func newWay(t *testing.T, to string) *way {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &way{listener: listener, to: to, gate: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(l.gate)
	l.wg.Go(l.accept)
	t.Cleanup(l.stop)
	return l
}

func (l *way) addr() string { return l.listener.Addr().String() }

// sever cuts the link.
func (l *way) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		c.Close()
	}
}

// stall has the link swallow everything until it is mended.
func (l *way) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.gate:
		l.gate = make(chan struct{})
	default:
	}
}

// mend makes it work again. What was held back arrives late, as it does where a
// network comes back in time.
func (l *way) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	select {
	case <-l.gate:
	default:
		close(l.gate)
	}
}

func (l *way) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.listener.Close()
	l.sever()
	l.mu.Lock()
	select {
	case <-l.gate:
	default:
		close(l.gate)
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *way) accept() {
	for {
		from, err := l.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", l.to)
		if err != nil {
			from.Close()
			continue
		}
		if !l.keep(from, to) {
			from.Close()
			to.Close()
			continue
		}
		l.wg.Go(func() { l.carry(from, to) })
		l.wg.Go(func() { l.carry(to, from) })
	}
}

// keep notes a connection's two ends, unless the link is cut.
func (l *way) keep(ends ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.stopped {
		return false
	}
	for _, c := range ends {
		l.conns[c] = struct{}{}
	}
	return true
}

// carry hands on what comes until either end breaks.
func (l *way) carry(from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err == nil {
			l.mu.Lock()
			gate := l.gate
			l.mu.Unlock()
			<-gate
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			from.Close()
			to.Close()
			l.mu.Lock()
			delete(l.conns, from)
			delete(l.conns, to)
			l.mu.Unlock()
			return
		}
	}
}
