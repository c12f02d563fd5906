package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	dialTimeout = 2 * time.Second
	// readyTimeout is for the HTTP/2 preface of a process that already listens.
	readyTimeout = 5 * time.Second
	// window is the flow control window of a stream and a connection. A fixed
	// one spares the pings with which gRPC would measure the socket.
	window = 1 << 20
)

// life is one connection to a plugin, from the moment it is ready to its end.
//
// It has a gRPC client of its own, which never connects again: so an end is
// final, what belongs to which instance of the plugin is never in doubt, and
// gRPC's reconnection back-off does not stand between a restarted plugin and
// its work.
type life struct {
	client *Client
	cc     *grpc.ClientConn
	socket os.FileInfo // which socket file it was reached by
	since  time.Time
	lane   atomic.Pointer[lane] // where the plugin has one

	gone    chan struct{}
	once    sync.Once
	dead    atomic.Bool // set before the client forgets the life
	broken  atomic.Bool // the connection ended, as against being drained
	stopped atomic.Bool // this node closed it

	// refs counts the tracker and every call; the last one closes cc, so that a
	// plugin that stops gracefully still answers what it has taken.
	refs atomic.Int64
}

// connect dials the socket and returns once the plugin speaks gRPC.
func (c *Client) connect(ctx context.Context) (*life, error) {
	// Looked at before dialling: if the file is replaced in between, the life
	// has the older identity and the tracker will look again.
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return nil, errors.New("the file is not a socket")
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	l := &life{client: c, socket: info, since: time.Now(), gone: make(chan struct{})}
	l.refs.Store(1)
	first := make(chan net.Conn, 1)
	first <- &watchedConn{Conn: conn, life: l}
	l.cc, err = grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case conn := <-first:
				return conn, nil
			default:
				// gRPC wants a second connection: the first is draining. A call
				// that it retries fails only after this, so it finds the life
				// ended.
				l.end()
				return nil, errors.New("this connection has ended")
			}
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0), // a quiet plugin is not an absent one
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
	)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	l.cc.Connect()
	for {
		state := l.cc.GetState()
		if state == connectivity.Ready {
			return l, nil
		}
		if state == connectivity.TransientFailure || !l.cc.WaitForStateChange(ready, state) {
			l.cc.Close()
			conn.Close()
			return nil, fmt.Errorf("something listens, but not as a gRPC server (%v)", state)
		}
	}
}

// end makes the life past: no new call begins on it. Calls under way go on, or
// fail by themselves if the connection broke.
func (l *life) end() {
	l.once.Do(func() {
		l.dead.Store(true)
		l.client.forget(l)
		close(l.gone)
		if ln := l.lane.Load(); ln != nil {
			ln.drain()
		}
	})
}

// watch ends the life when the connection is drained: the plugin has said that
// it stops, and takes no new calls.
func (l *life) watch() {
	l.cc.WaitForStateChange(context.Background(), connectivity.Ready)
	l.end()
}

// stop closes the connection under whatever runs on it.
func (l *life) stop() {
	l.stopped.Store(true)
	l.end()
	l.cc.Close()
}

// hold keeps the connection open for one call; false if it is closed.
func (l *life) hold() bool {
	for {
		n := l.refs.Load()
		if n == 0 {
			return false
		}
		if l.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (l *life) release() {
	if l.refs.Add(-1) == 0 {
		l.cc.Close()
	}
}

// watchedConn tells the life of the connection's end before gRPC hears of it,
// so that every call which fails for it finds the life ended.
type watchedConn struct {
	net.Conn
	life *life
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.breaks()
	}
	return n, err
}

func (w *watchedConn) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.breaks()
	}
	return n, err
}

func (w *watchedConn) Close() error {
	w.breaks()
	return w.Conn.Close()
}

func (w *watchedConn) breaks() {
	w.life.broken.Store(true)
	w.life.end()
}
