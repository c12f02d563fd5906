package file

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// compress compresses as a rotating program does.
func compress(t testing.TB, ext string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch ext {
	case ".gz":
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
	case ".zst":
		w, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
		w.Close()
	case ".bz2":
		path, err := exec.LookPath("bzip2")
		if err != nil {
			t.Skip("bzip2 is not installed")
		}
		cmd := exec.Command(path, "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(b), &out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// batch is lines that are long enough to be known again.
func batch(name string, n int) (lines []string, text string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("%s line %d %s", name, i, strings.Repeat("x", 40)))
	}
	return lines, strings.Join(lines, "\n") + "\n"
}

func (w *world) pack(name, ext string) {
	w.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	w.write(name+ext, compress(w, ext, text))
	if err := os.Remove(w.path(name)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) write(name string, text []byte) {
	w.Helper()
	if err := os.WriteFile(w.path(name), text, 0o600); err != nil {
		w.Fatal(err)
	}
}

// copyTruncate is what logrotate does with that word.
func (w *world) copyTruncate(name, to string) {
	w.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	w.write(to, text)
	if err := os.Truncate(w.path(name), 0); err != nil {
		w.Fatal(err)
	}
}

// all waits for these lines, in any order, each once.
func (w *world) all(lines ...[]string) {
	w.Helper()
	want := slices.Sorted(slices.Values(slices.Concat(lines...)))
	w.Wait(w.T, fmt.Sprint(len(want), " lines"), func() bool { return len(w.Raws()) >= len(want) })
	if got := slices.Sorted(slices.Values(w.Raws())); !slices.Equal(got, want) {
		w.Fatalf("stored %d lines, want %d: %q...", len(got), len(want), got[:min(3, len(got))])
	}
}

// still waits until the plugin has nothing to decide any more, with a file of its
// own, and then wants no line but these.
func (w *world) still(lines ...[]string) {
	w.Helper()
	w.append("zzz.log", "the end of the test\n")
	w.all(append(lines, []string{"the end of the test"})...)
}

func TestCompressedBacklog(t *testing.T) {
	for _, ext := range compressions {
		t.Run(ext, func(t *testing.T) {
			w := newWorld(t)
			old, text := batch("old", 6_000)
			w.write("a.log.2"+ext, compress(t, ext, []byte(text)))
			now, text := batch("now", 10)
			w.append("a.log", text)
			settings := fmt.Sprintf(`{"paths":[%q],"poll":"10ms"}`, w.path("a.log*"))
			w.BreakAfter(4000)
			stop, _ := w.run(settings)
			w.Wait(t, "a part", func() bool { return len(w.Raws()) > 3000 })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			stop, _ = w.run(settings)
			w.all(old, now)
			stop()
			n := len(w.Received())
			stop, _ = w.run(settings)
			defer stop()
			w.append("a.log", "last\n")
			w.all(old, now, []string{"last"})
			if again := len(w.Received()) - n; again > 1 {
				t.Errorf("%d lines were read again after all was stored", again-1)
			}
		})
	}
}

// A broken or unfinished compressed file is read as far as it goes, and on when
// it is whole.
func TestUnfinishedArchive(t *testing.T) {
	w := newWorld(t)
	lines, text := batch("packed", 2000)
	whole := compress(t, ".gz", []byte(text))
	w.write("a.log.1.gz", whole[:len(whole)/2])
	w.write("b.log.1.gz", []byte("no gzip at all"))
	stop, _ := w.run(fmt.Sprintf(`{"paths":[%q],"poll":"10ms"}`, w.path("*.gz")))
	defer stop()
	w.Wait(t, "the half", func() bool { return len(w.Raws()) > 100 })
	w.write("a.log.1.gz", whole)
	w.all(lines)
}

// Rotated by renaming, then compressed: the compressed file is not read again,
// and from it comes what had not been read.
func TestCompressedAfterRead(t *testing.T) {
	for _, ext := range compressions {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint(ext, " down ", down), func(t *testing.T) {
				w := newWorld(t)
				settings := fmt.Sprintf(`{"paths":[%q,%q],"poll":"10ms"}`, w.path("a.log*"), w.path("zzz.log"))
				first, text := batch("first", 100)
				w.append("a.log", text)
				stop, _ := w.run(settings)
				w.all(first)
				second, text := batch("second", 50)
				if down {
					stop()
					w.append("a.log", text)
				} else {
					w.append("a.log", text)
					w.all(first, second)
				}
				if err := os.Rename(w.path("a.log"), w.path("a.log.1")); err != nil {
					t.Fatal(err)
				}
				w.pack("a.log.1", ext)
				third, text := batch("third", 10)
				w.append("a.log", text)
				if down {
					stop, _ = w.run(settings)
				}
				defer func() { stop() }()
				w.still(first, second, third)
				stop()
				stop, _ = w.run(settings)
				w.append("a.log", "last\n")
				w.all(first, second, third, []string{"the end of the test", "last"})
			})
		}
	}
}

// A log that is copied and truncated is read on in its copy, from where it was,
// whether the copy's name is asked for or not; also when the file has grown past
// its old position again.
func TestCopyTruncate(t *testing.T) {
	for _, glob := range []string{"a.log", "a.log*"} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint(glob, " down ", down), func(t *testing.T) {
				w := newWorld(t)
				settings := fmt.Sprintf(`{"paths":[%q,%q],"poll":"10ms"}`, w.path(glob), w.path("zzz.log"))
				first, text := batch("first", 50)
				w.append("a.log", text)
				stop, _ := w.run(settings)
				w.all(first)
				second, text := batch("second", 20)
				third, longer := batch("third", 300)
				if down {
					stop()
				}
				w.append("a.log", text)
				if !down {
					w.all(first, second)
				}
				w.copyTruncate("a.log", "a.log.1")
				w.append("a.log", longer)
				if down {
					stop, _ = w.run(settings)
				}
				defer func() { stop() }()
				w.still(first, second, third)
				stop()
				stop, _ = w.run(settings)
				w.append("a.log", "last\n")
				w.all(first, second, third, []string{"the end of the test", "last"})
			})
		}
	}
}

// A file that was rotated while the plugin was down is found under any name of
// its folder, and a copy under any of the family.
func TestRenamedWhileDown(t *testing.T) {
	w := newWorld(t)
	first, text := batch("first", 10)
	w.append("a.log", text)
	stop, _ := w.run(w.settings(""))
	w.all(first)
	stop()
	second, text := batch("second", 10)
	w.append("a.log", text)
	if err := os.Rename(w.path("a.log"), w.path("put away")); err != nil {
		t.Fatal(err)
	}
	third, text := batch("third", 10)
	w.append("a.log", text)
	stop, _ = w.run(w.settings(""))
	defer stop()
	w.all(first, second, third)
}

// Two logs that begin alike are two, also where one is rotated by its name.
func TestAlikeAreTwo(t *testing.T) {
	w := newWorld(t)
	lines, text := batch("same", 20)
	w.append("a.log", text)
	stop, _ := w.run(w.settings(""))
	defer stop()
	w.all(lines)
	w.append("b.log", text)
	w.all(lines, lines)
	w.append("a-1.log", text) // of the family: it is waited for whether it is a copy
	w.all(lines, lines, lines)
}

func TestExcludeAndLinks(t *testing.T) {
	w := newWorld(t)
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "real.txt"), []byte("linked\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.log", "b.log"} {
		if err := os.Symlink(filepath.Join(other, "real.txt"), w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	w.append("debug.log", "not wanted\n")
	w.append("c.log", "wanted\n")
	stop, _ := w.run(w.settings(`,"exclude":["debug*"]`))
	defer stop()
	w.all([]string{"linked", "wanted"})
	f, err := os.OpenFile(filepath.Join(other, "real.txt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "more\n")
	w.still([]string{"linked", "wanted", "more"})
}

func TestMultiline(t *testing.T) {
	w := newWorld(t)
	settings := w.settings(`,"multiline":{"start":"^\\d+ ","flush":"300ms"}`)
	w.append("a.log", "1 one\n at x\n at y\n2 two\n3 thr")
	stop, _ := w.run(settings)
	w.want("1 one\n at x\n at y")
	w.append("a.log", "ee\n")
	w.want("1 one\n at x\n at y", "2 two", "3 three") // by the time
	w.append("a.log", " too late\n4 four\n")
	w.want("1 one\n at x\n at y", "2 two", "3 three", " too late", "4 four")
	stop()
	// Read again from the beginning, the same records have the same ids, although
	// the file holds now what would have made others.
	state := filepath.Join(w.Dir, "state", "files", "positions.json")
	text, err := os.ReadFile(state)
	if err != nil || !strings.Contains(string(text), `"offset":49`) {
		t.Fatalf("positions: %s %v", text, err)
	}
	w.append("a.log", "5 five\n")
	stop, _ = w.run(settings)
	defer stop()
	w.want("1 one\n at x\n at y", "2 two", "3 three", " too late", "4 four", "5 five")
}

// A record that only the time ended ends there also when it is read again after
// a crash, with more behind it.
func TestMultilineCutIsKept(t *testing.T) {
	w := newWorld(t)
	settings := w.settings(`,"multiline":{"continuation":"^ ","flush":"50ms"}`)
	w.Hold(true)
	w.append("a.log", "one\n two\n")
	stop, _ := w.run(settings)
	w.Wait(t, "the record", func() bool { return len(w.Received()) == 1 })
	state := filepath.Join(w.Dir, "state", "files", "positions.json")
	text, err := os.ReadFile(state) // as a crash would leave it
	if err != nil || !strings.Contains(string(text), `"cuts":[9]`) {
		t.Fatalf("positions: %s %v", text, err)
	}
	w.Hold(false)
	w.want("one\n two")
	stop()
	if err := os.WriteFile(state, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.append("a.log", " three\n")
	stop, _ = w.run(settings)
	defer stop()
	w.want("one\n two", " three")
	if got := w.Received(); len(got) != 3 || got[0].Id != got[1].Id {
		t.Errorf("received %v", got)
	}
}

// Many files take turns, and little memory.
func TestManyFiles(t *testing.T) {
	w := newWorld(t)
	var want []string
	n := 300
	for i := range n {
		line := fmt.Sprintf("file %d", i)
		want = append(want, line)
		w.append(fmt.Sprintf("%04d.log", i), line+"\n")
	}
	big, text := batch("big", 8_000)
	w.append("0000.log", text)
	stop, _ := w.run(w.settings(""))
	defer stop()
	w.Wait(t, "the small files", func() bool {
		got := w.Raws()
		return slices.Contains(got, want[n-1])
	})
	if got := w.Raws(); slices.Contains(got, big[len(big)-1]) && slices.Index(got, want[n-1]) > slices.Index(got, big[len(big)-1]) {
		t.Error("a large file kept the others waiting")
	}
	w.all(want, big)
}
