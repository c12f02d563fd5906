package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// groupBytes bounds what one commit takes, in bytes of lines; one line may be
	// larger.
	groupBytes = 8 << 20
	// atOnce is how many files of a commit are written at once.
	atOnce = 8
	// maxTracked bounds the files that are not ended, open or not.
	maxTracked = 4096
	retainPace = 10 * time.Minute
	// maxLinger bounds what a call waits for others to come.
	maxLinger = 2 * time.Millisecond
)

// writer puts lines into files. One goroutine, loop, commits; files are touched
// by it alone, but for the writes of one commit, which go side by side.
type writer struct {
	Settings
	node  string
	log   hclog.Logger
	codec codec
	root  *os.Root // of the folder: nothing beyond it can be reached
	lock  *os.File

	in    chan *line
	end   chan struct{}
	ended chan error
	tidy  chan struct{} // asks for a look at what is kept

	files    map[place]*file
	said     time.Time     // when a failure was last logged
	lastSize int           // of the last commit, in lines
	lastTook time.Duration // likewise
}

// line is a call that waits.
type line struct {
	place place
	text  []byte
	done  chan error
}

func newWriter(s Settings, node string, log hclog.Logger) (*writer, error) {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	w := &writer{
		Settings: s, node: node, log: log, root: root, files: map[place]*file{},
		in: make(chan *line, 1024), end: make(chan struct{}), ended: make(chan error, 1), tidy: make(chan struct{}, 1),
	}
	if w.codec, err = newCodec(s.Compression); err == nil {
		err = w.takeLock()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return w, nil
}

// takeLock keeps another process of this node out of the folder: it would take
// our open files for what a crash left. The kernel lets go of it with the
// process.
func (w *writer) takeLock() error {
	name := ".lock-" + w.node
	f, err := w.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("dir: another archive of this node writes to %s: give each a folder of its own", w.Dir)
		}
		return fmt.Errorf("dir: lock %s: %w", name, err)
	}
	w.lock = f
	return nil
}

func (w *writer) unlock() error {
	return errors.Join(w.lock.Close(), w.root.Close())
}

func (w *writer) start() {
	go func() { w.ended <- w.loop() }()
}

// stop ends all files. No call may be under way.
func (w *writer) stop() error {
	close(w.end)
	return errors.Join(<-w.ended, w.unlock())
}

// put returns once the text is on the disk. Where ctx ends before, it may be
// written all the same.
func (w *writer) put(ctx context.Context, p place, text []byte) error {
	l := &line{place: p, text: text, done: make(chan error, 1)}
	select {
	case w.in <- l:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loop commits what waits, all of it at once: while one commit is under way, the
// next gathers.
func (w *writer) loop() error {
	tick := time.NewTicker(min(w.MaxAge.D()/4+time.Millisecond, time.Second))
	defer tick.Stop()
	var keeper sync.WaitGroup
	keep := make(chan struct{})
	keeper.Go(func() { w.retain(keep) })
	defer keeper.Wait()
	defer close(keep)
	for {
		select {
		case l := <-w.in:
			group := w.gather(l)
			began := time.Now()
			w.commit(group)
			w.lastSize, w.lastTook = len(group), time.Since(began)
		case now := <-tick.C:
			w.rotate(now)
		case <-w.end:
			var errs []error
			for p, f := range w.files {
				errs = append(errs, w.finish(p, f))
			}
			return errors.Join(errs...)
		}
	}
}

// gather takes what waits. Callers that were answered together come again
// together, a little apart: where there were several the last time, it waits for
// as many, for less than a commit takes. A lone call does not wait.
func (w *writer) gather(first *line) []*line {
	group := []*line{first}
	var late <-chan time.Time
	if w.lastSize > 1 {
		timer := time.NewTimer(min(w.lastTook/2, maxLinger))
		defer timer.Stop()
		late = timer.C
	}
	for bytes := len(first.text); bytes < groupBytes; {
		select {
		case l := <-w.in:
			group = append(group, l)
			bytes += len(l.text)
			continue
		default:
		}
		if late == nil || len(group) >= w.lastSize {
			return group
		}
		select {
		case l := <-w.in:
			group = append(group, l)
			bytes += len(l.text)
		case <-late:
			return group
		}
	}
	return group
}

// commit writes a group and answers its calls, each by how its own file fared.
func (w *writer) commit(group []*line) {
	byPlace := map[place][]*line{}
	for _, l := range group {
		byPlace[l.place] = append(byPlace[l.place], l)
	}
	var work errgroup.Group
	work.SetLimit(atOnce)
	batch := map[place]bool{}
	for p, lines := range byPlace {
		// Files that this commit writes stay open until it is done.
		if len(batch) >= w.MaxOpen {
			_ = work.Wait()
			clear(batch)
		}
		batch[p] = true
		f, err := w.file(p, batch)
		if err != nil {
			w.answer(lines, err)
			continue
		}
		if len(byPlace) == 1 {
			w.answer(lines, f.append(w.codec, lines))
			continue
		}
		work.Go(func() error {
			err := f.append(w.codec, lines)
			for _, l := range lines {
				l.done <- err
			}
			f.failed = err
			return nil
		})
	}
	_ = work.Wait()
	for p := range byPlace {
		f := w.files[p]
		if f == nil {
			continue
		}
		if f.failed != nil {
			w.say(f.failed)
			f.failed = nil
		}
		if f.size >= w.MaxBytes || f.spoiled {
			w.mustFinish(p, f)
		}
	}
}

func (w *writer) answer(lines []*line, err error) {
	if err != nil {
		w.say(err)
	}
	for _, l := range lines {
		l.done <- err
	}
}

// say logs a failure, not each of very many.
func (w *writer) say(err error) {
	if time.Since(w.said) > 10*time.Second {
		w.said = time.Now()
		w.log.Error("cannot write; what comes waits in the stream until it goes on", "error", err)
	}
}

// file is the open file of a place.
func (w *writer) file(p place, busy map[place]bool) (*file, error) {
	f := w.files[p]
	if f == nil {
		if len(w.files) >= maxTracked {
			if p, f := w.leastUsed(busy, func(*file) bool { return true }); f != nil {
				w.mustFinish(p, f)
			}
		}
		var err error
		if f, err = w.create(p); err != nil {
			return nil, err
		}
		w.files[p] = f
	}
	f.used = time.Now()
	if f.f == nil {
		if err := f.reopen(w.root); err != nil {
			return nil, err
		}
	}
	for open := w.open(); open > w.MaxOpen; open-- {
		_, f := w.leastUsed(busy, func(f *file) bool { return f.f != nil })
		if f == nil {
			break
		}
		f.park()
	}
	return f, nil
}

func (w *writer) open() int {
	n := 0
	for _, f := range w.files {
		if f.f != nil {
			n++
		}
	}
	return n
}

func (w *writer) leastUsed(busy map[place]bool, ok func(*file) bool) (at place, least *file) {
	for p, f := range w.files {
		if !busy[p] && ok(f) && (least == nil || f.used.Before(least.used)) {
			at, least = p, f
		}
	}
	return at, least
}

// rotate ends files that are old enough.
func (w *writer) rotate(now time.Time) {
	for p, f := range w.files {
		if now.Sub(f.begun) >= w.MaxAge.D() {
			w.mustFinish(p, f)
		}
	}
}

func (w *writer) mustFinish(p place, f *file) {
	if err := w.finish(p, f); err != nil {
		w.say(err)
	}
}
