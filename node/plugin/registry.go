package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// Options are a Registry's settings. What is zero takes its default.
type Options struct {
	// Dir is the folder of sockets, WORK_DIR/sockets. It is made if need be.
	Dir    string
	Logger hclog.Logger

	InFlight    int           // calls at once to one plugin; 64
	CallTimeout time.Duration // of one call, the wait for a slot not counted; 30s
	MaxMessage  int           // bytes a plugin is sent at most; 4 MiB, what an SDK plugin takes
	MaxReply    int           // bytes of one call's answer, all messages together; 8 MiB
	MaxAlerts   int           // alerts that one Analyze may answer; 1000
	NoLane      bool          // never use a plugin's batch lane
	Rescan      time.Duration // between looks at the folder, besides its notifications; 2s
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.InFlight <= 0 {
		o.InFlight = 64
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = 30 * time.Second
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = 4 << 20
	}
	if o.MaxReply <= 0 {
		o.MaxReply = 8 << 20
	}
	if o.MaxAlerts <= 0 {
		o.MaxAlerts = 1000
	}
	if o.Rescan <= 0 {
		o.Rescan = 2 * time.Second
	}
}

// maxSockets bounds how many plugins a folder can make a node connect to.
const maxSockets = 1024

// Registry knows the plugins of this node by their sockets.
type Registry struct {
	opts    Options
	log     hclog.Logger
	changes notifier

	mu       sync.Mutex
	clients  map[key]*Client
	trackers int
	full     bool // said that there are too many sockets
	wg       sync.WaitGroup
}

type key struct {
	kind Kind
	name string
}

// NewRegistry makes a registry. Nothing is connected before Serve runs, but
// clients can be had.
func NewRegistry(o Options) *Registry {
	o.setDefaults()
	// An absolute path, so that no name can be taken for an abstract socket.
	if dir, err := filepath.Abs(o.Dir); err == nil {
		o.Dir = dir
	}
	return &Registry{opts: o, log: o.Logger, clients: make(map[key]*Client)}
}

func (r *Registry) String() string { return "plugin registry" }

func (r *Registry) path(kind Kind, name string) string {
	return filepath.Join(r.opts.Dir, SocketName(kind, name))
}

// Client is the handle of a plugin, present or not. The same kind and name give
// the same handle as long as the registry exists.
func (r *Registry) Client(kind Kind, name string) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clientLocked(kind, name)
	c.asked = true
	return c
}

func (r *Registry) clientLocked(kind Kind, name string) *Client {
	c := r.clients[key{kind, name}]
	if c == nil {
		c = newClient(r, kind, name)
		r.clients[key{kind, name}] = c
		r.changes.notify()
	}
	return c
}

// Changes gives a channel that is closed at the next change of a plugin's
// state. Take it before Snapshot to miss none.
func (r *Registry) Changes() <-chan struct{} { return r.changes.wait() }

// Serve watches the folder until ctx ends, then closes every connection. It
// returns an error only if the folder cannot be made or read at all.
func (r *Registry) Serve(ctx context.Context) error {
	if err := os.MkdirAll(r.opts.Dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of sockets: %w", err)
	}
	// Trackers end before Serve returns, whatever the reason.
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()

	rescan := r.opts.Rescan
	var events chan fsnotify.Event
	var errs chan error
	watcher, err := fsnotify.NewBufferedWatcher(256)
	if err != nil {
		rescan = min(rescan, 250*time.Millisecond)
		r.log.Warn("no notifications for the folder of sockets, looking at it often instead; raise fs.inotify.max_user_instances",
			"error", err)
	} else {
		defer watcher.Close()
		events, errs = watcher.Events, watcher.Errors
	}
	ticker := time.NewTicker(rescan)
	defer ticker.Stop()
	for failed := false; ; {
		// Again each time: the folder may have been replaced, and the watch
		// would be on the old one. Watched first, then read, to miss nothing.
		if watcher != nil {
			err = watcher.Add(r.opts.Dir)
		}
		if scan := r.scan(ctx); scan != nil {
			err = scan
		}
		if err != nil && !failed {
			r.log.Warn("cannot watch the folder of sockets", "dir", r.opts.Dir, "error", err)
		}
		failed = err != nil
		if !r.await(ctx, events, errs, ticker.C) {
			return nil
		}
	}
}

// await handles notifications until the folder should be read again; false when
// ctx has ended.
func (r *Registry) await(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case err := <-errs:
			// Notifications were lost.
			r.log.Debug("folder of sockets", "error", err)
			return true
		case e := <-events:
			if kind, name, ok := ParseSocketName(filepath.Base(e.Name)); ok {
				r.touch(ctx, kind, name, true)
			}
		}
	}
}

// scan looks at every socket there is.
func (r *Registry) scan(ctx context.Context) error {
	dir, err := os.Open(r.opts.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(r.opts.Dir, 0o750)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, file := range names {
		if kind, name, ok := ParseSocketName(file); ok {
			r.touch(ctx, kind, name, false)
		}
	}
	return err
}

// touch makes a tracker look at a socket: a new one, or if hurry is set the one
// that runs.
func (r *Registry) touch(ctx context.Context, kind Kind, name string, hurry bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[key{kind, name}]
	if c != nil && c.tracking {
		if hurry {
			select {
			case c.kick <- struct{}{}:
			default:
			}
		}
		return
	}
	if r.trackers >= maxSockets {
		if !r.full {
			r.log.Error("too many sockets, the rest are left alone", "dir", r.opts.Dir, "limit", maxSockets)
		}
		r.full = true
		return
	}
	c = r.clientLocked(kind, name)
	c.tracking = true
	r.trackers++
	r.wg.Go(func() { c.track(ctx) })
}

// untrack ends a tracker, unless its socket has been touched meanwhile.
func (r *Registry) untrack(c *Client, force bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-c.kick:
		if !force {
			return false
		}
	default:
	}
	c.tracking = false
	r.trackers--
	r.full = false
	if !c.asked {
		delete(r.clients, key{c.kind, c.name})
		r.changes.notify()
	}
	return true
}
