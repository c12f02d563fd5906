package plugin

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Client is the one handle of a plugin of one kind, whether it is there or not.
// All methods are safe for concurrent use.
type Client struct {
	kind     Kind
	name     string
	path     string
	opts     *Options
	registry *Registry

	slots *semaphore.Weighted
	life  atomic.Pointer[life]
	watch watch

	scratches   sync.Pool
	laneCalling sync.Pool

	inFlight atomic.Int64
	calls    atomic.Uint64
	failures atomic.Uint64
	// Calls and frames that went by lane.
	laneCalls  atomic.Uint64
	laneFrames atomic.Uint64
	lastErr    atomic.Pointer[string]

	mu    sync.Mutex
	up    chan struct{} // closed while live, replaced when a life ends
	state State
	why   string
	since time.Time

	// Of the registry, under its lock.
	asked    bool          // handed out by Registry.Client
	tracking bool          // a tracker runs
	kick     chan struct{} // something happened to the socket file
}

func newClient(r *Registry, kind Kind, name string) *Client {
	return &Client{
		kind: kind, name: name, path: r.path(kind, name), opts: &r.opts, registry: r,
		slots: semaphore.NewWeighted(int64(r.opts.InFlight)),
		up:    make(chan struct{}),
		state: StateAbsent, since: time.Now(),
		kick: make(chan struct{}, 1),
	}
}

// Name is the plugin's name.
func (c *Client) Name() string { return c.name }

// Kind is what the plugin serves.
func (c *Client) Kind() Kind { return c.kind }

// Live reports whether a call made now would reach the plugin.
func (c *Client) Live() bool { return c.life.Load() != nil }

// WaitLive returns once the plugin is live, or with ctx's error.
func (c *Client) WaitLive(ctx context.Context) error {
	for !c.Live() {
		c.mu.Lock()
		up := c.up
		c.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

var closed = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// Gone is closed when the plugin's present life ends; it is closed already
// where there is none. Once it is closed, a later call of Gone gives the channel
// of the next life. So a loop of WaitLive and Gone misses no end: the channel is
// that of a life which was live when Gone was called.
func (c *Client) Gone() <-chan struct{} {
	if l := c.life.Load(); l != nil {
		return l.gone
	}
	return closed
}

// begin makes l the present life, unless it has ended already. An end that comes
// later waits in forget for the lock, and takes l away again.
func (c *Client) begin(l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.dead.Load() {
		return
	}
	if c.life.Swap(l) == nil {
		close(c.up)
	}
	c.setLocked(StateLive, "")
}

// forget takes l away, if it is the present life.
func (c *Client) forget(l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.CompareAndSwap(l, nil) {
		c.up = make(chan struct{})
		c.setLocked(StateAbsent, "the plugin went away")
	}
}

func (c *Client) set(state State, why string) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setLocked(state, why)
}

func (c *Client) setLocked(state State, why string) bool {
	if c.state == state && c.why == why {
		return false
	}
	if c.state != state {
		c.since = time.Now()
	}
	c.state, c.why = state, why
	c.registry.changes.notify()
	return true
}

// moved reports whether the socket file is no longer the one that l was reached
// by: another process has bound the name.
func (c *Client) moved(l *life) bool {
	info, err := os.Stat(c.path)
	// A new file may get the old one's inode.
	return err == nil && !(os.SameFile(info, l.socket) && info.ModTime().Equal(l.socket.ModTime()))
}
