package plugin

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	retryMin = 10 * time.Millisecond // bind and listen are two steps of a plugin
	retryMax = 2 * time.Second
	// shortLife: a plugin whose connection ends sooner is not connected to again
	// at once.
	shortLife = time.Second
)

// track keeps the client connected for as long as its socket file exists.
func (c *Client) track(ctx context.Context) {
	t := tracker{
		client: c,
		log:    c.registry.log.With("plugin", c.name, "kind", string(c.kind)),
		delay:  retryMin,
	}
	for ctx.Err() == nil {
		again, done := t.look(ctx)
		if done {
			return
		}
		var gone <-chan struct{}
		if t.current != nil {
			gone = t.current.gone
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-gone:
		case <-timer.C:
		case <-c.kick:
			if t.current == nil {
				t.delay = retryMin
				c.pause(ctx)
			}
		}
		timer.Stop()
	}
	if t.current != nil {
		t.current.stop()
		t.current.release()
	}
	c.set(StateAbsent, "")
	c.registry.untrack(c, true)
}

// tracker is what track remembers from look to look.
type tracker struct {
	client     *Client
	log        hclog.Logger
	current    *life
	delay      time.Duration // before the next attempt
	complained string
}

// look brings the connection in line with the socket file, and says when to look
// again; done means that the file is gone and the tracker is no longer needed.
func (t *tracker) look(ctx context.Context) (again time.Duration, done bool) {
	c := t.client
	if t.current != nil && t.current.dead.Load() {
		lived := time.Since(t.current.since)
		t.log.Info("plugin disconnected", "after", lived.Round(time.Millisecond))
		t.swap(nil)
		if lived < shortLife {
			// Perhaps it ends whenever it is connected to.
			return t.backOff(), false
		}
		t.delay = retryMin
	}
	if t.current != nil && !c.moved(t.current) {
		return c.opts.Rescan, false
	}
	next, err := c.connect(ctx)
	switch {
	case err == nil:
		if t.current == nil {
			t.log.Info("plugin connected")
		} else {
			t.log.Info("plugin replaced by another process on its socket")
		}
		c.begin(next)
		go next.watch()
		if !c.opts.NoLane {
			go next.openLane()
		}
		t.swap(next)
		t.complained = ""
		return c.opts.Rescan, false
	case ctx.Err() != nil || t.current != nil:
		return t.backOff(), false
	case errors.Is(err, fs.ErrNotExist):
		c.set(StateAbsent, "")
		return 0, c.registry.untrack(c, false)
	}
	why := reason(err, c.path)
	c.set(StateUnreachable, why)
	// A socket between bind and listen is no news.
	if t.delay > 4*retryMin && why != t.complained {
		t.log.Warn("plugin unreachable", "reason", why)
		t.complained = why
	}
	return t.backOff(), false
}

// swap makes next the tracker's life and lets the one before run out.
func (t *tracker) swap(next *life) {
	if t.current != nil {
		t.current.end()
		t.current.release()
	}
	t.current = next
}

func (t *tracker) backOff() time.Duration {
	delay := t.delay
	t.delay = min(2*delay, retryMax)
	return delay
}

// pause keeps a file that is touched in a loop from becoming a loop of ours.
func (c *Client) pause(ctx context.Context) {
	timer := time.NewTimer(retryMin / 2)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// maxSocketPath is what the kernel takes as a Unix socket's address.
const maxSocketPath = 107

// reason is the cause of a failed connection in the words of whoever must mend
// it.
func reason(err error, path string) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens on the socket; the plugin that made it has ended"
	case errors.Is(err, fs.ErrPermission):
		return "this node may not connect to the socket; give its user access to " + path
	case len(path) > maxSocketPath:
		return "the socket's path is too long for a Unix socket; choose a shorter work dir or plugin name"
	}
	return err.Error()
}
