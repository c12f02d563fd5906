package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

const (
	// saveEvery is how often positions go to disk while lines flow. What is
	// read again after a crash is what was stored since.
	saveEvery = time.Second
	// renamedQuiet is how long a renamed or deleted file must have been quiet
	// before it is let go: its writer may hold it open for a moment.
	renamedQuiet = 5 * time.Second
	// closeWait is how long a stopping plugin waits for the last Acks.
	closeWait = 3 * time.Second
)

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

// reader is the running plugin.
type reader struct {
	plugins.Instance
	settings

	in    *plugins.Input
	state *state
	tails map[fileKey]*tail
	// retired holds files that are read to their end, and where that is, until
	// the node has stored all of it.
	retired map[fileKey]int64
	// failed holds paths whose trouble was logged, until it is over.
	failed map[string]string
}

// Run reads until ctx ends or, without follow, until all is read and stored.
func (r *reader) Run(ctx context.Context) (err error) {
	r.tails, r.retired, r.failed = map[fileKey]*tail{}, map[fileKey]int64{}, map[string]string{}
	if r.state, err = openState(filepath.Join(r.Dir, "state", r.Name, "positions.json")); err != nil {
		return err
	}
	if r.in, err = plugins.NewInput(r.Sender()); err != nil {
		return err
	}
	defer func() {
		for _, t := range r.tails {
			t.f.Close()
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
	return errors.Join(err, r.state.save())
}

func (r *reader) send(ctx context.Context, id string, raw []byte, stored func()) error {
	if len(raw) == 0 {
		return nil
	}
	return r.in.SendFunc(ctx, &plugins.Log{
		Id: id, DataType: r.DataType, DataSource: r.DataSource, TenantId: r.Tenant,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Raw: text(raw),
	}, stored)
}

// readStdin sends standard input, which has no position to keep. A read that
// waits cannot be broken off, so it is left behind when ctx ends.
func (r *reader) readStdin(ctx context.Context) error {
	if r.Stdin == nil {
		return errors.New(`paths: "-" is given and there is no standard input`)
	}
	done := make(chan error, 1)
	go func() {
		in := newLines(r.Stdin, 0, r.MaxLine)
		for {
			l, err := in.next()
			if errors.Is(err, io.EOF) {
				done <- r.send(ctx, "", in.last().text, nil)
				return
			}
			if err == nil {
				err = r.send(ctx, "", l.text, nil)
			} else {
				err = fmt.Errorf("read standard input: %w", err)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		if err == nil {
			r.Logger.Info("standard input has ended")
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readFiles looks for files and reads them in turn.
func (r *reader) readFiles(ctx context.Context) error {
	if err := r.openKnown(); err != nil {
		return err
	}
	saved, first := time.Now(), true
	for {
		if err := r.openNew(first); err != nil {
			return err
		}
		first = false
		progress := false
		for _, t := range r.inOrder() {
			more, err := t.read(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.trouble(t.pos.Path, err)
				r.drop(t)
				continue
			}
			progress = progress || more
			if err := r.retire(ctx, t); err != nil {
				return err
			}
		}
		if !r.Follow && !progress {
			return r.finishAll(ctx)
		}
		if time.Since(saved) > saveEvery {
			r.forgetRetired()
			if err := r.state.save(); err != nil {
				return err
			}
			saved = time.Now()
		}
		if progress {
			continue
		}
		timer := time.NewTimer(r.Poll.D())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// openKnown opens the files that were left unfinished, wherever they have been
// renamed to meanwhile; what was rotated while the plugin was down is read first.
func (r *reader) openKnown() error {
	known := r.state.all()
	slices.SortFunc(known, func(a, b position) int { return compare(a.Path, b.Path) })
	for _, p := range known {
		if p.Path == "" {
			continue
		}
		names, _ := filepath.Glob(escapeGlob(p.Path) + "*")
		found := false
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || keyOf(info) != p.key() {
				continue
			}
			found = true
			if r.tails[p.key()] == nil {
				if err := r.open(name, false); err != nil {
					return err
				}
			}
			break
		}
		if !found {
			r.Logger.Debug("a file is gone", "file", p.Path)
			r.state.forget(p.key())
		}
	}
	return nil
}

// openNew opens files that match and are not open.
func (r *reader) openNew(first bool) error {
	for _, pattern := range r.Paths {
		if pattern == "-" {
			continue
		}
		names, _ := filepath.Glob(pattern)
		if len(names) == 0 && !r.Follow {
			r.trouble(pattern, errors.New("no such file"))
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || !info.Mode().IsRegular() || r.tails[keyOf(info)] != nil {
				continue
			}
			if len(r.tails) >= maxFiles {
				r.trouble(pattern, fmt.Errorf("more than %d files: make the glob narrower", maxFiles))
				return nil
			}
			if err := r.open(name, first && r.From == "end"); err != nil {
				return err
			}
		}
	}
	return nil
}

// open adds a tail. Only trouble with the positions ends the plugin.
func (r *reader) open(path string, atEnd bool) error {
	t, err := r.openTail(path, atEnd)
	if _, ok := errors.AsType[*os.PathError](err); ok && !strings.Contains(err.Error(), "positions") {
		r.trouble(path, err)
		return nil
	}
	if err != nil {
		return err
	}
	delete(r.failed, path)
	r.tails[t.key] = t
	r.Logger.Info("reading", "file", path, "offset", t.pos.Offset)
	return nil
}

// retire lets go of a file that is no more under its name and has been quiet.
func (r *reader) retire(ctx context.Context, t *tail) error {
	info, err := os.Stat(t.pos.Path)
	if err == nil && keyOf(info) == t.key {
		return nil
	}
	if r.Follow && time.Since(t.quiet) < renamedQuiet {
		return nil
	}
	if name, ok := r.wantedName(t.key); ok {
		t.pos.Path = name
		r.state.update(t.key, func(p *position) { p.Path = name })
		return nil
	}
	r.Logger.Info("file was renamed or deleted and is read to its end", "file", t.pos.Path)
	delete(r.tails, t.key)
	err = t.finish(ctx)
	r.retired[t.key] = t.sent
	return err
}

// forgetRetired drops the positions of files that are done with.
func (r *reader) forgetRetired() {
	for key, end := range r.retired {
		if p, ok := r.state.get(key); !ok || p.Offset >= end || r.tails[key] != nil {
			delete(r.retired, key)
			if ok && r.tails[key] == nil {
				r.state.forget(key)
			}
		}
	}
}

// wantedName is a name that the file has now and that the settings ask for.
func (r *reader) wantedName(key fileKey) (string, bool) {
	for _, pattern := range r.Paths {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && keyOf(info) == key {
				return name, true
			}
		}
	}
	return "", false
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
	return slices.SortedFunc(maps.Values(r.tails), func(a, b *tail) int { return compare(a.pos.Path, b.pos.Path) })
}

func (r *reader) drop(t *tail) {
	t.f.Close()
	delete(r.tails, t.key)
}

// trouble logs an error with a file once, until it changes.
func (r *reader) trouble(path string, err error) {
	if r.failed[path] != err.Error() {
		r.failed[path] = err.Error()
		r.Logger.Warn("cannot read", "file", path, "error", err)
	}
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
