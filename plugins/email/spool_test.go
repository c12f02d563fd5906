package email

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
	"github.com/hashicorp/go-hclog"
)

func openTestSpool(t testing.TB, path string) *spool {
	t.Helper()
	s, err := openSpool(path, 1000, 64<<20, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waitingIDs are the ids that wait, in order.
func waitingIDs(s *spool) []string {
	list, _ := s.due(time.Now().Add(time.Hour), 0, 1<<20)
	if len(list) == 0 {
		list, _ = s.due(time.Now().Add(1000*time.Hour), 0, len(s.waiting))
	}
	var ids []string
	for _, k := range list {
		ids = append(ids, k.ID)
	}
	return ids
}

func TestSpool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "mail", "spool")
	s := openTestSpool(t, path)
	now := time.Now()
	var calls sync.WaitGroup
	for i := range 40 {
		calls.Go(func() {
			if err := s.put(message(fmt.Sprint(i), "x"), now); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if err := s.put(message("1", "again"), now); err != nil || len(s.waiting) != 40 {
		t.Errorf("%v, %d wait", err, len(s.waiting))
	}
	var keys []delivery.Key
	for i := range 39 {
		keys = append(keys, delivery.KeyOf(fmt.Sprint(i), "incidents"))
	}
	if err := s.done(keys); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = openTestSpool(t, path)
	defer s.close()
	if got := waitingIDs(s); !slices.Equal(got, []string{"39"}) || !s.has(keys[5]) {
		t.Errorf("wait after a restart: %q", got)
	}
	if err := s.put(message("5", "was mailed"), now); err != nil || len(s.waiting) != 1 {
		t.Errorf("%v, %d wait", err, len(s.waiting))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	s.most = 2
	if err := s.put(message("a", ""), now); err != nil {
		t.Fatal(err)
	}
	if err := s.put(message("b", ""), now); !errors.Is(err, errFull) {
		t.Errorf("full: %v", err)
	}
}

func TestSpoolDue(t *testing.T) {
	s := openTestSpool(t, filepath.Join(t.TempDir(), "spool"))
	defer s.close()
	t0 := time.Now()
	if list, wait := s.due(t0, time.Minute, 3); list != nil || wait != 0 {
		t.Errorf("empty: %v %s", list, wait)
	}
	for i := range 2 {
		if err := s.put(message(fmt.Sprint(i), ""), t0.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if list, wait := s.due(t0.Add(20*time.Second), time.Minute, 3); list != nil || wait.Round(time.Second) != 40*time.Second {
		t.Errorf("early: %v %s", list, wait)
	}
	if list, _ := s.due(t0.Add(time.Minute), time.Minute, 3); len(list) != 2 {
		t.Errorf("in time: %v", list)
	}
	if list, _ := s.due(t0, time.Minute, 2); len(list) != 2 {
		t.Errorf("enough: %v", list)
	}
	list, _ := s.due(t0.Add(time.Minute), time.Minute, 1)
	s.postpone(list, t0.Add(time.Minute))
	if list, _ := s.due(t0.Add(61*time.Second), time.Minute, 1); len(list) != 1 || list[0].ID != "0" && list[0].ID != "1" {
		t.Errorf("after a rest: %v", list)
	}
	if list, _ := s.due(t0.Add(time.Minute), time.Minute, 1); len(list) == 1 && list[0].ID != "1" {
		t.Errorf("what rests is in the way: %v", list)
	}
}

// Wherever a crash cuts the file, what was whole is there.
func TestSpoolTornAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	s := openTestSpool(t, path)
	var ends []int64
	for i := range 4 {
		if err := s.put(message(fmt.Sprint(i), "text\nof a message"), time.Now()); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.end)
	}
	s.close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		if cut%7 != 0 && !slices.Contains(ends, int64(cut)) && cut != len(whole) {
			continue
		}
		want := 0
		for _, end := range ends {
			if end <= int64(cut) {
				want++
			}
		}
		torn := filepath.Join(t.TempDir(), "spool")
		if err := os.WriteFile(torn, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := openTestSpool(t, torn)
		if len(s.waiting) != want {
			t.Errorf("cut at %d: %d wait, want %d", cut, len(s.waiting), want)
		}
		s.close()
		if _, err := os.Stat(torn + ".damaged"); err == nil {
			t.Errorf("cut at %d: a torn end looks like damage", cut)
		}
	}
	// A bit that turned costs one message, and the file is kept to look at.
	whole[ends[0]+20] ^= 1
	broken := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(broken, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openTestSpool(t, broken)
	defer s.close()
	if got := waitingIDs(s); !slices.Equal(got, []string{"0", "2", "3"}) {
		t.Errorf("with a bit turned: %q", got)
	}
	if _, err := os.Stat(broken + ".damaged"); err != nil {
		t.Error(err)
	}
}

func FuzzSpool(f *testing.F) {
	line, err := formatRecord(record{Put: &kept{ID: "1", Topic: "t", Text: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(slices.Clone(line), line[:10]...))
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte(`zzz` + "\n" + string(line)))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "spool")
		if err := os.WriteFile(path, append(slices.Clone(line), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := openTestSpool(t, path)
		defer s.close()
		first := delivery.KeyOf("1", "t")
		if !s.byKey[first] && !s.has(first) {
			t.Error("the first record is lost")
		}
	})
}

func FuzzCompose(f *testing.F) {
	for _, s := range []string{"", "plain", "two\r\nBcc: evil@example.test", "=?utf-8?q?=0ABcc:_x?=", "ünïcode " + strings.Repeat("ä", 300), "--=_x\r\n\r\n", strings.Repeat("x", 2000), ".\r\n.\r\nQUIT\r\n", "\xff\x00\u2028"} {
		f.Add(s, s, "id")
	}
	s := defaults()
	s.Subject = defaultSubject
	templates, err := s.templates()
	if err != nil {
		f.Fatal(err)
	}
	from, err := parseAddress("Mesh <mesh@epmesh.test>")
	if err != nil {
		f.Fatal(err)
	}
	to := recipients{to: addresses([]string{"a@example.test"})}
	f.Fuzz(func(t *testing.T, title, text, id string) {
		c := delivery.Read(message(id, text))
		c.Title, c.Summary = delivery.Line(title, 200), delivery.Line(title, 200)
		p, err := templates.write([]delivery.Content{c, c})
		if err != nil {
			t.Fatal(err)
		}
		if len(text)%2 == 0 {
			p.html = ""
		}
		p.subject = title // whatever a template may have written
		raw, err := compose(from, to, mailID([]delivery.Key{delivery.KeyOf(id, "t")}, from), p, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		head, _, parts := parse(t, string(raw))
		if len(head["Bcc"]) != 0 || len(head["Subject"]) != 1 || len(head["To"]) != 1 || len(head) > 11 {
			t.Errorf("headers %v", head)
		}
		want := 2
		if p.html == "" {
			want = 1
		}
		if len(parts) != want {
			t.Errorf("%d parts", len(parts))
		}
		if got := strings.ReplaceAll(parts["text/plain"], "\r\n", "\n"); strings.TrimRight(got, "\n") != strings.TrimRight(strings.ReplaceAll(p.text, "\r\n", "\n"), "\n") {
			t.Errorf("the text is %q, was %q", got, p.text)
		}
		for line := range strings.SplitSeq(string(raw), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("line %q", line)
			}
		}
	})
}
