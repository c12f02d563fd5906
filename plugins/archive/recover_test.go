package archive

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// frames makes the text of a file of some frames, and where each ends.
func frames(t testing.TB, c codec, perFrame ...int) (text []byte, ends []int) {
	t.Helper()
	i := 0
	for _, n := range perFrame {
		var content bytes.Buffer
		for range n {
			fmt.Fprintf(&content, `{"id":"e%d","tenantId":"t1","raw":"some text of a line"}`+"\n", i)
			i++
		}
		var err error
		if text, err = c.encode(text, content.Bytes()); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(text))
	}
	return text, ends
}

func codecs(t testing.TB) []codec {
	t.Helper()
	var list []codec
	for _, name := range []string{zstdName, gzipName} {
		c, err := newCodec(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// Wherever a crash cuts a file, what was whole stays, and what is left is a file
// that every tool reads.
func TestTornAnywhere(t *testing.T) {
	for _, c := range codecs(t) {
		text, ends := frames(t, c, 3, 1, 40, 2)
		for cut := range len(text) + 1 {
			want := 0
			for _, end := range ends {
				if end <= cut {
					want = end
				}
			}
			var lines int
			good, damaged, err := walk(c, bytes.NewReader(text[:cut]), int64(cut), func(content []byte) { lines += bytes.Count(content, []byte("\n")) })
			if err != nil || int(good) != want || damaged {
				t.Fatalf("%s cut at %d: good to %d, want %d, damaged %v, %v", c.suffix(), cut, good, want, damaged, err)
			}
		}
		// A file that grew and got no content, as after a power loss.
		zeros := append(slices.Clone(text), make([]byte, 5000)...)
		if good, damaged, err := walk(c, bytes.NewReader(zeros), int64(len(zeros)), func([]byte) {}); int(good) != len(text) || damaged || err != nil {
			t.Errorf("%s with zeros: good to %d of %d, damaged %v, %v", c.suffix(), good, len(text), damaged, err)
		}
		// A bit that turned is no crash's work: what follows is whole.
		broken := slices.Clone(text)
		broken[(ends[1]+ends[2])/2] ^= 1
		if good, damaged, _ := walk(c, bytes.NewReader(broken), int64(len(broken)), func([]byte) {}); int(good) != ends[1] || !damaged {
			t.Errorf("%s with a bit turned: good to %d, want %d, damaged %v", c.suffix(), good, ends[1], damaged)
		}
	}
}

func TestRecovery(t *testing.T) {
	for _, c := range codecs(t) {
		compression := map[string]string{zstdSuffix: zstdName, gzipSuffix: gzipName}[c.suffix()]
		a := build(t, values{"manifest": true, "compression": compression})
		dir := a.Settings.Dir
		put := func(name string, text []byte) {
			path := filepath.Join(dir, "t1/2026/11/23", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, ends := frames(t, c, 5, 5)
		damaged := slices.Clone(text)
		damaged[ends[0]/2] ^= 1
		put("events-n1-000001.open"+c.suffix(), text[:ends[1]-3])
		put("events-n1-000002.open"+c.suffix(), nil)
		put("events-n1-000003.open"+c.suffix(), damaged)
		put("events-n1-000004.open"+c.suffix(), text[:7])
		put("events-n2-000001.open"+c.suffix(), text[:7]) // another node's, which may live
		if err := a.open(); err != nil {
			t.Fatal(err)
		}
		if !a.once.Has(itemKey(kindEvents, "t1", "e4")) || a.once.Has(itemKey(kindEvents, "t1", "e5")) {
			t.Error("what was found is not known again")
		}
		again := event(4, "t1")
		putAll(t, a, again) // it was kept
		shut(t, a)
		want := []string{
			"t1/2026/11/23/events-n1-000001" + c.suffix(), "t1/2026/11/23/events-n1-000001" + c.suffix() + manifestSuffix,
			"t1/2026/11/23/events-n1-000003" + c.suffix() + damagedMark,
			"t1/2026/11/23/events-n2-000001.open" + c.suffix(),
		}
		if got := files(t, dir); !slices.Equal(got, want) {
			t.Errorf("files\n%q, want\n%q", got, want)
		}
		if got := lines(t, filepath.Join(dir, want[0])); len(got) != 5 {
			t.Errorf("%d lines", len(got))
		}
		checkManifest(t, dir, want[0])
	}
}

// A full disk makes calls fail for a while, and is no harm beyond that.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	a := opened(t, values{"dir": dir + "/a"})
	noise := make([]byte, 3000)
	kept := map[string]bool{}
	full := 0
	for i := 0; full < 5; i++ {
		e := event(i, "t1")
		for j := range noise {
			noise[j] = "0123456789abcdef"[(i*7919+j*j*31+j>>3*i)%16]
		}
		e.Raw = string(noise) + e.Raw
		switch err := a.event(t.Context(), e); {
		case err == nil:
			kept[e.Id] = true
		case isLater(err) && strings.Contains(err.Error(), "no space"):
			full++
		default:
			t.Fatal(err)
		}
		if i > 100_000 {
			t.Fatal("never full")
		}
	}
	for _, name := range files(t, a.Settings.Dir) {
		lines(t, filepath.Join(a.Settings.Dir, name)) // readable all the while
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	putAll(t, a, event(1_000_000, "t1"))
	kept["e1000000"] = true
	shut(t, a)
	got := ids(t, a.Settings.Dir)
	for id := range kept {
		if got[id] != 1 {
			t.Errorf("%s is there %d times", id, got[id])
		}
	}
	if len(got) != len(kept) {
		t.Errorf("%d are there, %d were acknowledged", len(got), len(kept))
	}
	t.Logf("%d kept, %d refused while the disk was full", len(kept), full)
}

func FuzzTenantFolder(f *testing.F) {
	for _, s := range []string{"", "t1", "..", "../../etc/passwd", "a/b", "a%2Fb", "%none", strings.Repeat("ä", 80), strings.Repeat("x", 64), strings.Repeat("x", 65), "\x00", ".lock-n1"} {
		f.Add(s, "t1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := tenantFolder(a), tenantFolder(b)
		if (a == b) != (x == y) {
			t.Errorf("%q and %q are %q and %q", a, b, x, y)
		}
		if x == "" || len(x) > maxName || !filepath.IsLocal(x) || filepath.Clean(x) != x || strings.ContainsAny(x, "/\\.\x00") {
			t.Errorf("%q is %q", a, x)
		}
		for _, open := range []bool{true, false} {
			name := fileName(kindEvents, x, 17, open, zstdSuffix)
			if kind, n, o, suffix, ok := parseName(name, x); !ok || kind != kindEvents || n != 17 || o != open || suffix != zstdSuffix {
				t.Errorf("%q is not read again", name)
			}
		}
	})
}

// Whatever is in a file that was left open: what is kept of it is whole, and
// nothing whole at its beginning is lost.
func FuzzRecovery(f *testing.F) {
	for kind, c := range codecs(f) {
		text, ends := frames(f, c, 3, 2)
		f.Add(kind, text)
		f.Add(kind, text[:ends[0]+5])
		f.Add(kind, append(slices.Clone(text), 0, 0, 0))
		f.Add(kind, append([]byte("x"), text...))
		f.Add(kind, append(slices.Clone(c.magic()), text...))
	}
	all := codecs(f)
	f.Fuzz(func(t *testing.T, kind int, text []byte) {
		c := all[(kind%2+2)%2]
		prefix, _ := frames(t, c, 4)
		whole := append(slices.Clone(prefix), text...)
		var content bytes.Buffer
		good, _, err := walk(c, bytes.NewReader(whole), int64(len(whole)), func(b []byte) { content.Write(b) })
		if err != nil || good < int64(len(prefix)) || good > int64(len(whole)) {
			t.Fatalf("good to %d of %d: %v", good, len(whole), err)
		}
		var again bytes.Buffer
		kept, damaged, err := walk(c, bytes.NewReader(whole[:good]), good, func(b []byte) { again.Write(b) })
		if err != nil || kept != good || damaged || !bytes.Equal(content.Bytes(), again.Bytes()) {
			t.Errorf("what is kept is not whole: %d of %d, damaged %v, %v", kept, good, damaged, err)
		}
		first, _, _ := bytes.Cut(content.Bytes(), []byte("\n"))
		if gjson.GetBytes(first, "id").Str != "e0" {
			t.Errorf("begins with %q", first)
		}
	})
}
