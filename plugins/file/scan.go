package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// candidate is a file that was found.
type candidate struct {
	path string
	key  fileKey
	info os.FileInfo
}

// look finds the files that the settings ask for, each once, whatever links lead
// to it.
func (r *reader) look() []candidate {
	var found []candidate
	seen := map[fileKey]bool{}
	for _, pattern := range r.Paths {
		if pattern == "-" {
			continue
		}
		names, _ := filepath.Glob(pattern)
		if len(names) == 0 && !r.Follow {
			r.trouble(pattern, errors.New("no such file"))
		}
		r.watch.add(filepath.Dir(pattern))
		for _, name := range names {
			if r.excluded(name) || !r.Compressed && compression(name) != "" {
				continue
			}
			info, err := os.Stat(name)
			if err != nil || !info.Mode().IsRegular() || seen[keyOf(info)] {
				continue
			}
			seen[keyOf(info)] = true
			found = append(found, candidate{name, keyOf(info), info})
		}
	}
	return found
}

func (r *reader) excluded(path string) bool {
	return slices.ContainsFunc(r.Exclude, func(pattern string) bool {
		name := path
		if filepath.Base(pattern) == pattern {
			name = filepath.Base(path)
		}
		match, _ := filepath.Match(pattern, name)
		return match
	})
}

// scan brings the open files in line with what there is. What it opened may be
// read once the positions are saved.
func (r *reader) scan(ctx context.Context, first bool) error {
	r.families, r.again = nil, false
	for _, t := range r.tails {
		t.named = false
	}
	var unknown []candidate
	suspected := map[fileKey]bool{}
	for _, c := range r.look() {
		if t := r.tails[c.key]; t != nil {
			if t.path != c.path && !t.named {
				t.path = c.path
				r.state.move(t.pos, c.key, c.path)
				r.watch.follow(c.path)
			}
			t.named = true
			continue
		}
		if !r.resume(c) {
			unknown = append(unknown, c)
		}
	}
	// What was written first is read first.
	slices.SortStableFunc(unknown, func(a, b candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, c := range unknown {
		if c.info.Size() == 0 {
			continue // a copy begins like that: who it is shows when it holds something
		}
		if r.judge(c, first && r.From == "end" && !r.state.existed) {
			suspected[c.key] = true
		}
	}
	for key := range r.suspects {
		if !suspected[key] {
			delete(r.suspects, key)
		}
	}
	return r.retireAll(ctx)
}

// resume takes up a file whose place on the disk is known, and reports whether
// that was all there is to do.
func (r *reader) resume(c candidate) bool {
	p := r.state.find(c.key)
	if p == nil {
		return false
	}
	// An inode is soon another file's. In a family that is not the log's, no copy
	// of it would be known: nothing but what the file holds may take it there.
	st := r.state.get(p)
	var t *tail
	var err error
	switch size, ext := c.info.Size(), compression(c.path); {
	case ext != compression(st.Path):
		err = errReplaced // compressing makes another file
	case ext != "" && size == 0:
		return true // who it is shows when it holds something
	case ext != "" && (st.Done == size || st.ended == size) && family(st.Path) == family(c.path):
		r.state.move(p, c.key, c.path)
		return true
	default:
		t, err = r.open(c, p)
	}
	if errors.Is(err, errReplaced) {
		r.Logger.Info("another file in the place of a known one", "file", c.path)
		r.state.gone(p)
		r.families = nil
		return false
	}
	if t != nil && (st.Path != c.path || st.Gone != 0) {
		r.state.move(p, c.key, c.path)
	}
	return true
}

// open adds a tail. Trouble with the file is logged, but for errReplaced; the
// tail is nil then, or where there is no room for one.
func (r *reader) open(c candidate, p *position) (*tail, error) {
	if compression(c.path) != "" && r.archives() >= maxArchives {
		return nil, nil // scan comes back when one is done
	}
	if len(r.tails) >= maxFiles {
		r.trouble(c.path, fmt.Errorf("more than %d files: make the globs narrower", maxFiles))
		return nil, nil
	}
	t, err := r.openTail(c.path, c.key, p)
	if errors.Is(err, errMoved) {
		r.again = true
		return nil, nil
	}
	if err != nil {
		if !errors.Is(err, errReplaced) {
			r.trouble(c.path, err)
			if compression(c.path) != "" {
				r.state.endArchive(p, c.info.Size(), false)
			}
			return nil, nil
		}
		return nil, err
	}
	delete(r.failed, c.path)
	r.tails[c.key] = t
	r.watch.follow(c.path)
	r.Logger.Info("reading", "file", c.path, "offset", t.off, "log", p.Generation)
	return t, nil
}

// begin takes a file that begins with head for a new log.
func (r *reader) begin(c candidate, head []byte, atEnd bool) {
	if len(r.tails) >= maxFiles || compression(c.path) != "" && !atEnd && r.archives() >= maxArchives {
		_, _ = r.open(c, nil) // which says so
		return
	}
	head = headIn(head)
	p := &position{
		Path: c.path, Device: c.key.device, Inode: c.key.inode, Generation: newGeneration(),
		Head: hash(head), HeadSize: int64(len(head)),
	}
	if atEnd && compression(c.path) != "" {
		p.Done = c.info.Size()
	} else if atEnd {
		f, info, err := openFile(c.path)
		if err != nil {
			r.trouble(c.path, err)
			return
		}
		p.Offset, p.Anchor = info.Size(), hash(anchorAt(f, info.Size()))
		f.Close()
	}
	r.state.add(p)
	r.families, r.unsaved = nil, true
	if p.Done > 0 {
		return
	}
	if _, err := r.open(c, p); err != nil {
		r.trouble(c.path, err)
	}
}

// replaced lets a log go whose file holds something else now: it was truncated,
// or written anew. What was not read of it may be in a copy.
func (r *reader) replaced(t *tail) error {
	r.drop(t)
	r.state.gone(t.pos)
	r.families = nil
	if t.archive != nil {
		if len(r.refused) > maxFiles {
			clear(r.refused)
		}
		r.refused[t.key] = t.pos.Generation
	} else {
		copied := r.findCopy(t.pos, filepath.Dir(t.path))
		r.Logger.Info("file was truncated or written anew, reading it from the beginning", "file", t.path, "read", t.off, "copy", copied)
	}
	// scan finds the file again, as an unknown one.
	return nil
}

// retireAll lets go of files that are no more under their names and have been
// quiet.
func (r *reader) retireAll(ctx context.Context) error {
	for _, t := range r.inOrder() {
		if t.named {
			continue
		}
		if info, err := os.Stat(t.path); err == nil && keyOf(info) == t.key {
			continue // it was found elsewhere than by a glob
		}
		info, err := t.f.Stat()
		quiet := renamedQuiet
		if err != nil || deleted(info) {
			quiet = deletedQuiet
		}
		if t.archive != nil || r.Follow && time.Since(t.grew) < quiet {
			continue
		}
		r.Logger.Info("file was renamed or deleted and is read to its end", "file", t.path)
		delete(r.tails, t.key)
		r.leaving = append(r.leaving, t.pos)
		if err := t.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inFamily are the logs that a file, by its name, may be a copy of.
func (r *reader) inFamily(path string) []*position {
	if r.families == nil {
		r.families = map[string][]*position{}
		for _, p := range r.state.all() {
			name := family(p.Path)
			r.families[name] = append(r.families[name], p)
		}
	}
	return r.families[family(path)]
}
