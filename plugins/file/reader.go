package file

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

const (
	// saveEvery is how often positions go to disk while records flow. What is
	// read again after a crash is what was stored since.
	saveEvery = time.Second
	// deletedQuiet and renamedQuiet are how long a file that is no more under its
	// name must have been quiet before it is let go: its writer may hold it open.
	deletedQuiet = 5 * time.Second
	renamedQuiet = 5 * time.Minute
	// closeWait is how long a stopping plugin waits for the last Acks.
	closeWait = 1500 * time.Millisecond
	// rescanPause is the least time between two looks at folders that changed.
	rescanPause = 50 * time.Millisecond
	// sweepEvery is the pause between two looks for logs whose file is gone.
	sweepEvery = time.Minute
)

// reader is the running plugin. One goroutine finds and reads the files, in
// turns of a chunk.
type reader struct {
	plugins.Instance
	settings
	cutter cutter

	in    *plugins.Input
	state *state
	tails map[fileKey]*tail
	// leaving are logs whose file was let go, until all that was sent is stored.
	leaving  []*position
	suspects map[fileKey]*suspect
	// failed holds paths whose trouble was logged, until it is over.
	failed map[string]string
	buf    []byte
	watch  *watch
	// refused are copies that turned out to be none, with the log's generation.
	refused map[fileKey]string
	// families is an index of the state, made when it is needed.
	families map[string][]*position
	unsaved  bool // something must be on disk before more is read
	again    bool // another scan may find more
}

// Run reads until ctx ends or, without follow, until all is read and stored.
func (r *reader) Run(ctx context.Context) (err error) {
	r.tails, r.suspects, r.failed = map[fileKey]*tail{}, map[fileKey]*suspect{}, map[string]string{}
	r.refused = map[fileKey]string{}
	if r.state, err = openState(filepath.Join(r.Dir, "state", r.Name, "positions.json")); err != nil {
		return err
	}
	if r.in, err = plugins.NewInput(r.Sender()); err != nil {
		return err
	}
	r.watch = newWatch(r.Logger)
	defer r.watch.close()
	defer func() {
		for _, t := range r.tails {
			t.close()
		}
	}()

	work := make(chan error, 2)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := 0
	if slices.Contains(r.Paths, "-") {
		jobs++
		go func() { work <- r.readStdin(ctx) }()
	}
	if slices.ContainsFunc(r.Paths, func(p string) bool { return p != "-" }) {
		jobs++
		go func() { work <- r.readFiles(ctx) }()
	}
	for range jobs {
		if e := <-work; e != nil && err == nil {
			err = e
			cancel()
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if ctx.Err() == nil && err == nil {
		err = r.in.Flush(ctx) // all is read: wait as long as it takes
	}
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	if e := r.in.Close(end); e != nil {
		r.Logger.Warn("stopped before the node stored all; it is read again at the next start", "error", e)
	}
	r.leave()
	return errors.Join(err, r.state.save())
}

func (r *reader) send(ctx context.Context, id, raw string, stored func()) error {
	return r.in.SendFunc(ctx, &plugins.Log{
		Id: id, DataType: r.DataType, DataSource: r.DataSource, TenantId: r.Tenant,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Raw: raw,
	}, stored)
}

// window is the buffer that files are read into, in turns.
func (r *reader) window(n int) []byte {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	return r.buf[:n]
}

// readFiles looks for files and reads them in turn.
func (r *reader) readFiles(ctx context.Context) error {
	if err := r.resumeAll(ctx); err != nil {
		return err
	}
	saved, swept, looked := time.Now(), time.Now(), time.Time{}
	var changed map[string]bool // files to look at; nil means all
	for first, scan := true, true; ; {
		if scan {
			r.watch.scanned()
			if err := r.scan(ctx, first); err != nil {
				return err
			}
			first, scan, looked, changed = false, false, time.Now(), nil
		}
		if err := r.saveCuts(); err != nil {
			return err
		}
		progress, err := r.turn(ctx, changed)
		if err != nil {
			return err
		}
		if !r.Follow && !progress && !r.unsaved {
			if !r.again && len(r.suspects) == 0 {
				return r.finishAll(ctx)
			}
			scan = true
			continue
		}
		if time.Since(saved) > saveEvery {
			r.leave()
			if err := r.state.save(); err != nil {
				return err
			}
			saved = time.Now()
			if saved.Sub(swept) > sweepEvery {
				r.sweep()
				swept = saved
			}
		}
		if progress || r.unsaved {
			changed = map[string]bool{}
			since := time.Since(looked)
			scan = (r.watch.take(changed) || r.again) && since > rescanPause || since > r.Poll.D()
			continue
		}
		if scan, changed, err = r.wait(ctx, looked); err != nil {
			return err
		}
	}
}

// turn reads a chunk of each file that may have something, and reports whether
// one had.
func (r *reader) turn(ctx context.Context, changed map[string]bool) (progress bool, err error) {
	for _, t := range r.inOrder() {
		if changed != nil && !changed[t.path] && !t.more && t.archive == nil && !r.cutter.grouped() {
			continue
		}
		more, err := t.read(ctx)
		if ctx.Err() != nil {
			return progress, ctx.Err()
		}
		progress = progress || more || t.more
		switch {
		case err == nil:
			continue
		case t.archive != nil && errors.Is(err, io.EOF):
			r.state.endArchive(t.pos, t.size, true)
			r.Logger.Info("compressed file is read", "file", t.path)
			r.drop(t)
		case errors.Is(err, errReplaced):
			err = r.replaced(t)
			if err != nil {
				return progress, err
			}
		default:
			if t.archive != nil {
				r.state.endArchive(t.pos, t.size, false)
			}
			r.trouble(t.path, err)
			r.drop(t)
		}
		r.again, progress = true, true
	}
	return progress, nil
}

// wait waits for a change or the next look at everything.
func (r *reader) wait(ctx context.Context, looked time.Time) (scan bool, changed map[string]bool, err error) {
	scanAt := looked.Add(r.Poll.D())
	if r.again {
		scanAt = looked.Add(min(r.Poll.D(), rescanPause))
	} else if r.suspecting() {
		scanAt = looked.Add(min(r.Poll.D(), suspectQuiet/10))
	}
	pause := time.Until(scanAt)
	if r.cutter.grouped() {
		pause = min(pause, r.Multiline.Flush.D()/2)
	}
	timer := time.NewTimer(max(0, pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.watch.wake:
		changed = map[string]bool{}
		scan = r.watch.take(changed)
		if scan {
			// Many changes of a folder make one look.
			rest := time.NewTimer(max(0, time.Until(looked.Add(rescanPause))))
			defer rest.Stop()
			select {
			case <-rest.C:
			case <-ctx.Done():
			}
		}
		return scan, changed, ctx.Err()
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
	return !time.Now().Before(scanAt), map[string]bool{}, nil
}

// saveCuts puts on disk what must be there before more is sent.
func (r *reader) saveCuts() error {
	if !r.unsaved {
		return nil
	}
	r.unsaved = false
	return r.state.save()
}

// leave lets the logs go of which all is stored that their file had.
func (r *reader) leave() {
	r.leaving = slices.DeleteFunc(r.leaving, func(p *position) bool {
		if r.reads(p) {
			return true // it is back
		}
		if st := r.state.get(p); st.Offset < st.sent {
			return false
		}
		r.state.gone(p)
		return true
	})
}

// sweep notices which of the logs that are not open have no file any more, and
// forgets those of which that is long ago.
func (r *reader) sweep() {
	for _, p := range r.state.all() {
		st := r.state.get(p)
		if st.Gone != 0 || r.tails[st.key()] != nil || slices.Contains(r.leaving, p) {
			continue
		}
		if info, err := os.Stat(st.Path); err != nil || keyOf(info) != st.key() {
			r.state.gone(p)
		}
	}
	r.state.forget(time.Now())
}

func (r *reader) finishAll(ctx context.Context) error {
	for _, t := range r.inOrder() {
		delete(r.tails, t.key)
		if err := t.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) inOrder() []*tail {
	return slices.SortedFunc(maps.Values(r.tails), func(a, b *tail) int { return cmp.Compare(a.path, b.path) })
}

func (r *reader) drop(t *tail) {
	t.close()
	if r.tails[t.key] == t {
		delete(r.tails, t.key)
	}
}

// trouble logs an error with a file once, until it changes.
func (r *reader) trouble(path string, err error) {
	if len(r.failed) > maxFiles {
		clear(r.failed)
	}
	if r.failed[path] != err.Error() {
		r.failed[path] = err.Error()
		r.Logger.Warn("cannot read", "file", path, "error", err)
	}
}
