package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What was compressed while the plugin was down is known in the compressed file,
// also where the inode of the original is by now that of another log's archive,
// which is only being written.
func TestInodeTakenByArchive(t *testing.T) {
	theirs, text := batch("theirs", 200)
	whole := compress(t, ".gz", []byte(text))
	for name, written := range map[string]int{"empty": 0, "header": 10, "beginning": 80} {
		for _, from := range []string{"a.log", "old.log.1.gz"} {
			t.Run(name+" "+from, func(t *testing.T) {
				w := newWorld(t)
				settings := fmt.Sprintf(`{"paths":[%q,%q],"poll":"10ms"}`, w.path("*.log"), w.path("*.gz"))
				ours, text := batch("ours", 100)
				if compression(from) != "" {
					w.write(from, compress(t, ".gz", []byte(text)))
				} else {
					w.append(from, text)
				}
				stop, _ := w.run(settings)
				w.all(ours)
				stop()
				if err := os.Rename(w.path(from), w.path("gone")); err != nil {
					t.Fatal(err)
				}
				w.write(strings.TrimSuffix(from, ".1.gz")+".2.gz", compress(t, ".gz", []byte(text)))
				w.write("b.log.1.gz", whole[:written])
				w.placed(from, "b.log.1.gz")
				stop, _ = w.run(settings)
				defer stop()
				w.append("zzz.log", "a scan later\n")
				w.Wait(t, "a scan", func() bool { return slices.Contains(w.Raws(), "a scan later") })
				w.write("b.log.1.gz", whole)
				w.still(ours, theirs, []string{"a scan later"})
			})
		}
	}
}

// placed has the position of one file say that it has another's inode, and that
// nothing of it was stored, as a crash can leave it.
func (w *world) placed(name, taken string) {
	w.Helper()
	info, err := os.Stat(w.path(taken))
	if err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(w.Dir, "state", "files", "positions.json")
	text, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	kept, err := decodePositions(text)
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range kept {
		if p.Path == w.path(name) {
			p.Inode, p.Offset, p.Anchor, p.Done = keyOf(info).inode, 0, "", 0
		}
	}
	if text, err = json.Marshal(kept); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.Fatal(err)
	}
}

// A copy that is renamed while it is looked at is none the less one: it is met
// again under its new name.
func TestCopyRenamedWhileLookedAt(t *testing.T) {
	w := newWorld(t)
	_, text := batch("ours", 50)
	w.append("a.log.1", text)
	s, err := openState(w.path("positions.json"))
	if err != nil {
		t.Fatal(err)
	}
	p := &position{
		Path: w.path("a.log"), Generation: "g", Head: hash([]byte(text[:headSize])), HeadSize: headSize,
		Offset: int64(len(text)), Anchor: hash([]byte(text[len(text)-anchorSize:])),
	}
	s.add(p)
	r := &reader{state: s}
	c := r.list(w.logs)[0]
	head, err := headOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.likeness(p, head, c); got != goesOn {
		t.Errorf("likeness is %d, want %d", got, goesOn)
	}
	if err := os.Rename(w.path("a.log.1"), w.path("a.log.2")); err != nil {
		t.Fatal(err)
	}
	if got := r.likeness(p, head, c); got != unclear {
		t.Errorf("likeness of a file that is gone is %d, want %d", got, unclear)
	}
	w.append("a.log.1", "another\n")
	if got := r.likeness(p, head, c); got != unclear {
		t.Errorf("likeness of a file whose name is another's is %d, want %d", got, unclear)
	}
	if _, err := r.openTail(c.path, c.key, p); !errors.Is(err, errMoved) {
		t.Errorf("open: %v", err)
	}
}
