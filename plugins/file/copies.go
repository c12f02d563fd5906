package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// suspectQuiet is how long a file that begins like a log of its family must
	// have had its size before it is taken for a log of its own: a copy is
	// followed by the truncation of its original.
	suspectQuiet = 3 * time.Second
	// suspectMost bounds that for a file that grows all the time.
	suspectMost = 10 * time.Minute
	// maxCopies is how many files of a folder are looked into for a copy.
	maxCopies = 1024
)

// errLater says that a file could not be opened now; open has logged it, if it is
// trouble.
var errLater = errors.New("not now")

// suspect is a file that may be the copy of a log which still is in its place.
type suspect struct {
	of          *position // nil where its beginning cannot be read yet
	since, grew time.Time
	size        int64
}

// judge decides about a file whose place is not known: a copy of a known log, by
// name and content, is read on where that was left; a new one is begun. It
// reports true where that has to wait.
func (r *reader) judge(c candidate, atEnd bool) (waits bool) {
	ext := compression(c.path)
	if ext != "" {
		switch s := r.suspects[c.key]; {
		case atEnd:
			r.begin(c, nil, true)
			return false
		case s != nil && s.size == c.info.Size() && (s.fresh() || s.of != nil && r.reads(s.of)):
			return true // nothing has changed, and decompressing costs something
		case r.archives() >= maxArchives:
			return s != nil // scan comes back when one is done
		}
	}
	head, err := headOf(c)
	if errors.Is(err, errMoved) {
		r.again = true
		return r.suspects[c.key] != nil
	}
	if err != nil {
		if s := r.suspects[c.key]; ext == "" || !r.Follow || s != nil && s.size == c.info.Size() {
			r.trouble(c.path, err)
			if ext != "" {
				r.begin(c, nil, false) // which fails, and is tried again when it has changed
			}
			return false
		}
		r.suspect(c, nil) // it may be about to be written
		return true
	}
	for _, p := range slices.Clone(r.inFamily(c.path)) {
		if r.reads(p) {
			t := r.tails[p.key()]
			if t.archive == nil && r.mayCopy(t, head, c, ext) {
				return true
			}
			if t.archive != nil && !t.archive.there && r.likeness(p, head, c) >= goesOn {
				r.suspect(c, p) // which of the two it is shows soon
				return true
			}
		} else if r.refused[c.key] != p.Generation {
			// A copy that cannot be opened now is one all the same: it was renamed,
			// or there is no room, and the next scan meets it again.
			like := r.likeness(p, head, c)
			if like == unclear {
				r.again = true
				return r.suspects[c.key] != nil
			}
			if like != other && !errors.Is(r.adopt(c, p, like), errReplaced) {
				return r.suspects[c.key] != nil
			}
		}
	}
	delete(r.suspects, c.key)
	r.begin(c, head, atEnd)
	return false
}

// reads reports whether a log is being read from its place.
func (r *reader) reads(p *position) bool {
	t := r.tails[p.key()]
	return t != nil && t.pos == p
}

func (s *suspect) fresh() bool { return time.Since(s.grew) < suspectQuiet }

// suspecting reports whether something about a suspect may change by time.
func (r *reader) suspecting() bool {
	for _, s := range r.suspects {
		if time.Since(s.grew) < 2*suspectQuiet {
			return true
		}
	}
	return false
}

// mayCopy reports whether a file may be the copy of a log that is being read,
// and whether that is to be waited for. A compressed copy is one for good.
func (r *reader) mayCopy(t *tail, head []byte, c candidate, ext string) bool {
	own := bytesAt(t.f, 0, headSize)
	n := min(len(own), len(head))
	alike := n > 0 && bytes.Equal(own[:n], head[:n])
	// Or its original was truncated a moment ago and is not looked at yet.
	if !alike && r.likeness(t.pos, head, c) == other {
		return false
	}
	if !r.Follow {
		return false
	}
	s := r.suspect(c, t.pos)
	if !t.sameHead() {
		t.more = true // which has it looked at before the next scan
		return true
	}
	return ext != "" || s.fresh() && time.Since(s.since) < suspectMost
}

func (r *reader) suspect(c candidate, of *position) *suspect {
	s := r.suspects[c.key]
	if s == nil {
		s = &suspect{since: time.Now(), size: -1}
		r.suspects[c.key] = s
	}
	s.of = of
	if s.size != c.info.Size() {
		s.size, s.grew = c.info.Size(), time.Now()
	}
	return s
}

// likeness is what a file has to do with a log that is no more in its place.
type likeness int

const (
	other   likeness = iota
	begins           // it begins alike, which may be chance
	goesOn           // it holds the log up to where that was left, and perhaps more
	unclear          // it begins alike, and cannot be looked into now: it was renamed
)

// likeness compares a file that begins with head. What stands before the position
// of a compressed one is looked at when it is read.
func (r *reader) likeness(p *position, head []byte, c candidate) likeness {
	st, need, ext := r.state.get(p), int64(evidence), compression(c.path)
	if s := r.suspects[c.key]; s != nil && s.of == p || ext != "" && c.path == st.Path+ext {
		need = 1 // there is more than what it holds
	}
	if st.HeadSize < min(need, hint) || int64(len(head)) < st.HeadSize || hash(head[:st.HeadSize]) != st.Head {
		return other
	}
	if st.HeadSize < need {
		return begins
	}
	off, anchor := st.reached()
	if ext != "" || off == 0 {
		return goesOn
	}
	f, info, err := openFound(c.path, c.key)
	if err != nil {
		return unclear
	}
	defer f.Close()
	if info.Size() >= off && hash(anchorAt(f, off)) == anchor {
		return goesOn
	}
	return other
}

// adopt goes on with a log in a file that is like it, from the beginning where
// that may be chance: what was stored has the same ids then. An error says that it
// did not, errReplaced that this is no copy.
func (r *reader) adopt(c candidate, p *position, like likeness) error {
	if like == begins {
		r.state.change(p, func(p *position) { p.Offset, p.Anchor, p.sent, p.sentAnchor = 0, "", 0, "" })
	}
	r.state.change(p, func(p *position) { p.Done, p.ended, p.end = 0, 0, 0 })
	t, err := r.open(c, p)
	if err != nil {
		return err
	}
	if t == nil {
		return errLater
	}
	r.state.move(p, c.key, c.path)
	r.families, r.unsaved = nil, true
	delete(r.suspects, c.key)
	r.Logger.Info("a copy of a known log goes on where that was left", "file", c.path, "offset", t.off, "log", p.Generation)
	return nil
}

// findCopy looks through a folder for the copy of a log that was truncated or is
// gone, whether the settings ask for its name or not.
func (r *reader) findCopy(p *position, dir string) bool {
	looked := 0
	for _, c := range r.list(dir) {
		if family(c.path) != family(p.Path) || r.tails[c.key] != nil || r.state.find(c.key) != nil || c.info.Size() == 0 {
			continue
		}
		if !r.Compressed && compression(c.path) != "" {
			continue
		}
		if looked++; looked > maxCopies {
			return false
		}
		head, err := headOf(c)
		if err != nil {
			continue
		}
		if like := r.likeness(p, head, c); like != other && like != unclear && r.adopt(c, p, like) == nil {
			return true
		}
	}
	return false
}

// list is the regular files of a folder, the newest first.
func (r *reader) list(dir string) []candidate {
	entries, _ := os.ReadDir(dir)
	var found []candidate
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil {
			found = append(found, candidate{filepath.Join(dir, e.Name()), keyOf(info), info})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	return found
}

// resumeAll takes up, at the start, what was left unfinished and is not where the
// settings would find it: files renamed within their folder, and copies of those
// that are gone.
func (r *reader) resumeAll(ctx context.Context) error {
	left := slices.DeleteFunc(r.state.all(), func(p *position) bool { return r.state.get(p).Gone != 0 })
	for _, c := range r.look() {
		r.resume(c)
	}
	folders := map[string]map[fileKey]candidate{}
	var lost []*position
	for _, p := range left {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		st := r.state.get(p)
		if st.Gone != 0 {
			lost = append(lost, p) // something else is in its place
			continue
		}
		if r.reads(p) || st.Done > 0 {
			continue
		}
		dir := filepath.Dir(st.Path)
		if folders[dir] == nil {
			folders[dir] = map[fileKey]candidate{}
			for _, c := range r.list(dir) {
				folders[dir][c.key] = c
			}
		}
		if c, ok := folders[dir][st.key()]; ok && r.resume(c) {
			continue
		}
		r.state.gone(p)
		lost = append(lost, p)
	}
	for _, p := range lost {
		if !r.findCopy(p, filepath.Dir(p.Path)) {
			r.Logger.Debug("a file is gone", "file", p.Path)
		}
	}
	return nil
}
