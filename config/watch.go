package config

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

const (
	// settle is how long a folder must be quiet before it is looked at, as
	// files tend to change several at once.
	settle = 200 * time.Millisecond
	// unrest is how long it is waited for quiet at most.
	unrest = 5 * time.Second
	// poll is the pause between looks without a sign: network file systems
	// give none. The reference engine looks as often.
	poll = time.Minute
)

// Watch calls changed each time the pipeline files are in another state than
// seen, or than at the last call, until ctx ends; it returns ctx's error. Seen
// is the Stamp of the set that the caller has. Calls come one after the other,
// and not while somebody holds the folder's lock. The folder need not exist.
func Watch(ctx context.Context, dir string, seen Stamp, log hclog.Logger, changed func()) error {
	dir = filepath.Clean(dir)
	w := &watch{
		seen:    seen,
		busy:    func() bool { return locked(dir) },
		look:    func() Stamp { return list(dir).stamp() },
		changed: changed,
	}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changes of pipeline files are noticed once a minute only", "error", err,
			"cure", "raise fs.inotify.max_user_instances")
		return w.run(ctx, nil)
	}
	defer n.Close()
	follow := &follower{dir: dir, notify: n, log: log}
	w.look = follow.look
	signs := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	var forwarding sync.WaitGroup
	forwarding.Go(func() { follow.forward(ctx, signs) })
	defer forwarding.Wait()
	defer cancel()
	return w.run(ctx, signs)
}

// watch is the part of Watch that knows no file system.
type watch struct {
	seen    Stamp
	busy    func() bool
	look    func() Stamp
	changed func()
}

// run looks once at the start, then after signs, and from time to time.
func (w *watch) run(ctx context.Context, signs <-chan struct{}) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // the first sign not looked into
	arm := func() {
		now := time.Now()
		if since.IsZero() {
			since = now
		}
		quiet.Reset(max(0, min(settle, unrest-now.Sub(since))))
	}
	arm()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-signs:
			arm()
		case <-tick.C:
			arm()
		case <-quiet.C:
			since = time.Time{}
			if w.busy() {
				arm()
				continue
			}
			w.check()
		}
	}
}

func (w *watch) check() {
	if now := w.look(); now != w.seen {
		w.seen = now
		w.changed()
	}
}

// follower keeps the system's watches on the folders that there are.
type follower struct {
	dir    string
	notify *fsnotify.Watcher
	log    hclog.Logger
	warned bool
}

// look watches every folder before it takes the state, so that what changes
// after gives a sign. Adding a folder that is watched already does nothing.
func (f *follower) look() Stamp {
	// The parent's events tell when the folder itself appears.
	for _, dir := range append(list(f.dir).folders, filepath.Dir(f.dir)) {
		if err := f.notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !f.warned {
			f.warned = true
			f.log.Warn("changes of some pipeline files are noticed once a minute only", "folder", dir, "error", err,
				"cure", "if the limit is reached, raise fs.inotify.max_user_watches")
		}
	}
	return list(f.dir).stamp()
}

// forward turns the system's events into signs that something happened; which
// event it was does not matter.
func (f *follower) forward(ctx context.Context, signs chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.notify.Events:
			// Of what lies beside the folder only the folder matters.
			if e.Name != f.dir && !strings.HasPrefix(e.Name, f.dir+string(filepath.Separator)) {
				continue
			}
		case err := <-f.notify.Errors:
			// Such as an overflow of events: something did happen.
			f.log.Debug("watching pipeline files", "error", err)
		}
		select {
		case signs <- struct{}{}:
		default: // one is waiting
		}
	}
}
