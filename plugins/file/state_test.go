package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What the state reads it writes so that it reads the same.
func FuzzState(f *testing.F) {
	f.Add([]byte(`[{"path":"/a","device":1,"inode":2,"generation":"g","head":"h","headSize":5,"offset":7,"cuts":[9]}]`))
	f.Add([]byte(`[null]`))
	f.Add([]byte(`[{"generation":"g","offset":-1}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "positions.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openState(path)
		if err != nil {
			return
		}
		s.dirty = true
		if err := s.save(); err != nil {
			t.Fatal(err)
		}
		again, err := openState(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.logs) != len(s.logs) {
			t.Fatalf("%d logs were written, %d read", len(s.logs), len(again.logs))
		}
	})
}

func TestStateForgets(t *testing.T) {
	s, err := openState(filepath.Join(t.TempDir(), "state", "positions.json"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for n := range maxEntries + 100 {
		p := &position{Path: fmt.Sprint(n), Inode: uint64(n), Generation: fmt.Sprint(n)}
		s.add(p)
		if n < 200 {
			s.gone(p)
			p.Gone = now.Add(time.Duration(n) * time.Second).Unix()
		}
	}
	s.forget(now)
	if len(s.logs) != maxEntries || s.logs["99"] != nil || s.logs["100"] == nil {
		t.Errorf("%d are left; 99 is %v", len(s.logs), s.logs["99"])
	}
	s.forget(now.Add(forgetAfter + time.Hour))
	if len(s.logs) != maxEntries-100 {
		t.Errorf("%d are left", len(s.logs))
	}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v %v", info, err)
	}
	again, err := openState(s.path)
	if err != nil || len(again.logs) != len(s.logs) || !again.existed {
		t.Errorf("read again: %v", err)
	}
}

// A log that takes another's place on the disk does not take its position.
func TestStateMoves(t *testing.T) {
	s, _ := openState(filepath.Join(t.TempDir(), "positions.json"))
	a := &position{Path: "a", Inode: 1, Generation: "a"}
	b := &position{Path: "b", Inode: 2, Generation: "b"}
	s.add(a)
	s.add(b)
	s.move(b, fileKey{0, 1}, "a")
	if s.find(fileKey{0, 1}) != b || s.find(fileKey{0, 2}) != nil || a.Gone == 0 || b.Gone != 0 {
		t.Errorf("a %+v, b %+v", a, b)
	}
	s.stored(a, 5, "x")
	s.stored(a, 4, "y")
	if a.Offset != 5 || a.Anchor != "x" {
		t.Errorf("a %+v", a)
	}
}
