package file

import (
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

const (
	// maxWatched bounds the folders whose changes the system is asked to tell,
	// and maxNamed the changed files between two looks.
	maxWatched = 1024
	maxNamed   = 8192
)

// watch tells of changed files as soon as the system does. It is only for speed:
// what it does not tell, on network file systems above all, the next look at
// everything finds.
type watch struct {
	w    *fsnotify.Watcher
	log  hclog.Logger
	wake chan struct{} // something has changed
	done chan struct{}

	dirs map[string]bool // of the one goroutine that adds

	mu    sync.Mutex
	names map[string]bool
	scan  bool
	alias map[string]string // the names under which files are known, by their own
}

func newWatch(log hclog.Logger) *watch {
	h := &watch{log: log, wake: make(chan struct{}, 1), done: make(chan struct{}), dirs: map[string]bool{}, names: map[string]bool{}, alias: map[string]string{}}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Info("the system does not tell of changed files: they are looked at every poll", "error", err)
		close(h.done)
		return h
	}
	h.w = w
	go h.run()
	return h
}

func (h *watch) close() {
	if h.w != nil {
		h.w.Close()
	}
	<-h.done
}

func (h *watch) run() {
	defer close(h.done)
	for {
		select {
		case e, ok := <-h.w.Events:
			if !ok {
				return
			}
			h.note(e.Name, !e.Has(fsnotify.Write))
		case _, ok := <-h.w.Errors: // events were lost
			if !ok {
				return
			}
			h.note("", true)
		}
	}
}

func (h *watch) note(name string, scan bool) {
	h.mu.Lock()
	if known, ok := h.alias[name]; ok {
		name = known
	}
	if len(h.names) < maxNamed {
		h.names[name] = true
	} else {
		scan = true
	}
	h.scan = h.scan || scan
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take adds the changed files to changed, and says whether files have come or
// gone, which it goes on to say until scanned.
func (h *watch) take(changed map[string]bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.names {
		changed[name] = true
	}
	clear(h.names)
	return h.scan
}

// scanned says that a look at everything begins.
func (h *watch) scanned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scan = false
}

// add watches a folder. One whose name is a pattern is known by its files.
func (h *watch) add(dir string) {
	if h.w == nil || h.dirs[dir] || len(h.dirs) >= maxWatched {
		return
	}
	if err := h.w.Add(dir); err != nil {
		h.log.Debug("changes in a folder are found by looking", "folder", dir, "error", err)
		return // it may come
	}
	h.dirs[dir] = true
}

// follow watches the folder of a file, and that in which it really lies.
func (h *watch) follow(path string) {
	h.add(filepath.Dir(path))
	if h.w == nil {
		return
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		h.add(filepath.Dir(real))
		h.mu.Lock()
		if len(h.alias) < maxNamed {
			h.alias[real] = path
		}
		h.mu.Unlock()
	}
}
