package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The archives' case files are read, and what was read is printed.
func TestCasesGolden(t *testing.T) {
	golden(t, "testdata/cases/*.txtar", func(t *testing.T, dir string) string {
		found, err := FindCases([]string{dir})
		if err != nil || len(found) == 0 {
			t.Fatalf("found %v: %v", found, err)
		}
		var b strings.Builder
		for _, path := range found {
			f, report := LoadCases(path)
			b.WriteString(report.String())
			if report.Err() == nil {
				b.WriteString(describeCases(f))
			}
		}
		return b.String()
	})
}

func describeCases(f *CaseFile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", f.Path)
	for _, n := range f.Files {
		fmt.Fprintf(&b, "  file %s (%s)\n", n.Name, n.Position)
	}
	for _, n := range f.Rules {
		fmt.Fprintf(&b, "  rules %s (%s)\n", n.Name, n.Position)
	}
	for _, n := range f.Stubs {
		fmt.Fprintf(&b, "  stub %s (%s)\n", n.Name, n.Position)
	}
	for _, c := range f.Cases {
		want, err := json.Marshal(c.Want.plain())
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "case %s: %s\n  log %v\n  want %s\n", c.Position, c.Name, compactCase(c.Log), want)
		for _, e := range c.Events {
			fmt.Fprintf(&b, "  event %s: log %v, event %v, %d times, after %s, every %s\n", e.Position, compactCase(e.Log), compactCase(e.Event), e.Times, e.After, e.Every)
		}
		if len(c.Plugins) > 0 {
			stubs, err := json.Marshal(c.Plugins)
			if err != nil {
				return err.Error()
			}
			fmt.Fprintf(&b, "  plugins %s\n", stubs)
		}
		for _, key := range slices.Sorted(maps.Keys(c.Want.At)) {
			fmt.Fprintf(&b, "  at %d:%d %s\n", c.Want.At[key].Line, c.Want.At[key].Column, key)
		}
	}
	return b.String()
}

// An archive's x_test.yml becomes want by the new wants in changes.json: an
// object by case name, of what the case's keys are to be.
func TestUpdateGolden(t *testing.T) {
	golden(t, "testdata/casesupdate/*.txtar", func(t *testing.T, dir string) string {
		f, report := LoadCases(filepath.Join(dir, "x_test.yml"))
		if err := report.Err(); err != nil {
			t.Fatal(err)
		}
		text, err := f.Update(changes(t, f, filepath.Join(dir, "changes.json")))
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		again, report := ParseCases(f.Path, text)
		if err := report.Err(); err != nil {
			t.Fatal(err)
		}
		twice, err := again.Update(changes(t, again, filepath.Join(dir, "changes.json")))
		if err != nil || string(twice) != string(text) {
			t.Errorf("a second update changed something: %v\n%s", err, cmp.Diff(string(text), string(twice)))
		}
		return string(text)
	})
}

func changes(t *testing.T, f *CaseFile, path string) map[int]Want {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var byName map[string]json.RawMessage
	if err := json.Unmarshal(data, &byName); err != nil {
		t.Fatal(err)
	}
	out := make(map[int]Want)
	for i, c := range f.Cases {
		if text, ok := byName[c.Name]; ok {
			// JSON is YAML.
			one, report := ParseCases("changes", []byte(`{cases: [{name: x, raw: x, dataType: x, `+strings.TrimPrefix(string(text), "{")+`]}`))
			if err := report.Err(); err != nil {
				t.Fatal(err)
			}
			out[i] = one.Cases[0].Want
		}
	}
	if len(out) != len(byName) {
		t.Fatalf("changes for %d cases, and %d of them are there", len(byName), len(out))
	}
	return out
}

// What is not touched is the same to the byte, whatever the line ends.
func TestUpdateKeepsLineEnds(t *testing.T) {
	text := "cases:\r\n  - name: a\r\n    raw: x\r\n    dataType: t\r\n    fields:\r\n      action: old # why\r\n  - {name: b, raw: x, dataType: t, dropped: true}"
	f, report := ParseCases("x_test.yml", []byte(text))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	got, err := f.Update(map[int]Want{0: {Fields: map[string]any{"action": "new", "log.a": "b"}}})
	want := strings.Replace(text, "action: old # why\r\n", "action: new # why\r\n      log.a: b\r\n", 1)
	if err != nil || string(got) != want {
		t.Errorf("%v\n%q\nwant\n%q", err, got, want)
	}
	if got, err := f.Update(nil); err != nil || string(got) != text {
		t.Errorf("without a change it is another text: %v", err)
	}
}

func TestWriteCases(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a_test.yml"), filepath.Join(dir, "b_test.yml")
	put(t, path, "old")
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a_test.yml", link); err != nil {
		t.Fatal(err)
	}
	if err := WriteCases(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("the mode is %v: %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "new" {
		t.Errorf("it says %q: %v", data, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if err := WriteCases(filepath.Join(dir, "none_test.yml"), nil); err == nil {
		t.Error("wrote a file that was not there")
	}
}

func TestFindCases(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a_test.yml", "sub/b_test.yml", "sub/c_test.yaml", "sub/d.yml", "e.yaml", ".f_test.yml"} {
		put(t, filepath.Join(dir, name), "")
	}
	got, err := FindCases([]string{filepath.Join(dir, "sub", "d.yml"), dir, filepath.Join(dir, "sub")})
	want := []string{filepath.Join(dir, "sub", "d.yml"), filepath.Join(dir, "a_test.yml"), filepath.Join(dir, "sub", "b_test.yml")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v (%v), want %v", got, err, want)
	}
	if _, err := FindCases([]string{filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), "patterns: {x: a, y: a}")
	put(t, filepath.Join(dir, "more", "b.yaml"), "patterns: {x: b}")
	set, report := LoadFiles(filepath.Join(dir, "more"), filepath.Join(dir, "a.yaml"))
	if report.Err() != nil || set.Patterns["x"] != "a" || set.Patterns["y"] != "a" {
		t.Errorf("%v %v", set.Patterns, report)
	}
	if _, report := LoadFiles(filepath.Join(dir, "none.yaml")); report.Err() == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestSameValue(t *testing.T) {
	for i, test := range []struct {
		a, b any
		same bool
	}{
		{int64(22), 22.0, true},
		{uint64(1<<64 - 1), uint64(1<<64 - 1), true},
		{uint64(1<<64 - 1), int64(-1), false},
		{int64(22), "22", false},
		{"a", "a", true},
		{true, "true", false},
		{nil, nil, true},
		{nil, "", false},
		{[]any{int64(1), "a"}, []any{1.0, "a"}, true},
		{[]any{int64(1)}, []any{int64(1), int64(2)}, false},
		{map[string]any{"a": int64(1)}, map[string]any{"a": 1.0}, true},
		{map[string]any{"a": int64(1)}, map[string]any{"b": int64(1)}, false},
		{map[string]any{}, []any{}, false},
		{"a", map[string]any{}, false},
	} {
		if SameValue(test.a, test.b) != test.same || SameValue(test.b, test.a) != test.same {
			t.Errorf("%d: %v and %v: want same = %t", i, test.a, test.b, test.same)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, parts := range [][]string{{"a"}, {"a", "b"}, {"a.b", `c\`, `\.`}, {"", ""}} {
		if got := SplitPath(JoinPath(parts...)); !slices.Equal(got, parts) {
			t.Errorf("%q is written %s and read %q", parts, JoinPath(parts...), got)
		}
	}
}

// Whatever a case file holds, it is read in bounded time, and mistakes have
// words and places.
func FuzzParseCases(f *testing.F) {
	seedCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, report := ParseCases("x_test.yml", data)
		for _, p := range report {
			if p.Message == "" || p.Position.File != "x_test.yml" {
				t.Errorf("a problem without words or place: %+v", p)
			}
		}
		if report.Err() != nil {
			return
		}
		if len(file.Cases) == 0 {
			t.Error("no cases and no error")
		}
		for _, c := range file.Cases {
			typed := c.Log.GetDataType() != ""
			for _, e := range c.Events {
				typed = (e.Log.GetDataType() != "") != (e.Event.GetDataType() != "") && e.Times > 0
			}
			if c.Name == "" || !typed || c.Position.Line == 0 {
				t.Errorf("took %+v", c)
			}
		}
	})
}

// Of any file that can be read, the update says what was asked for or is
// refused; a second one changes nothing.
func FuzzUpdateCases(f *testing.F) {
	seedCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, report := ParseCases("x_test.yml", data)
		if report.Err() != nil {
			return
		}
		wants := make(map[int]Want)
		for i, c := range file.Cases {
			switch w := c.Want; i % 4 {
			case 0:
				w.Fields = map[string]any{"action": "x: y #\n", "log.n": int64(i)}
				for path, v := range c.Want.Fields {
					if len(path)%2 == 0 {
						w.Fields[path] = v
					}
				}
				w.Event, w.Dropped, w.Dead, w.Absent, w.Errors = nil, false, nil, []string{"log.none"}, []Text{NewText("/x/")}
				wants[i] = w
			case 1:
				wants[i] = Want{Dropped: true}
			case 2:
				wants[i] = Want{Event: map[string]any{"log": map[string]any{"a": []any{nil, true, "yes"}}}}
			}
		}
		text, err := file.Update(wants)
		if err != nil {
			return
		}
		again, report := ParseCases("x_test.yml", text)
		if report.Err() != nil {
			t.Fatalf("cannot be read again: %v", report)
		}
		if twice, err := again.Update(wants); err != nil || string(twice) != string(text) {
			t.Errorf("a second update: %v\n%s\n%s", err, text, twice)
		}
	})
}

func seedCases(f *testing.F) {
	seeds(f, "testdata/cases/*.txtar", CaseSuffix)
	seeds(f, "testdata/casesupdate/*.txtar", CaseSuffix)
	f.Add([]byte("cases: [{name: a, raw: x, dataType: t}]"))
	f.Add([]byte("a: &a {name: a}\ncases:\n- <<: *a\n  raw: |2\n     x\n  dataType: t\n  fields: &f\n    log.x: 1\n"))
}

// Files made to hurt are refused with a word.
func TestCasesBounds(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for name, test := range map[string]struct{ text, want string }{
		"alias bomb": {aliasBomb(40) + "cases: [{name: a, raw: x, dataType: t, fields: {log.a: *a39}}]", "more than 524288 values"},
		"merge bomb": {mergeBomb(12), "more than 524288 values"},
		"cycle":      {"cases: [{name: a, raw: x, dataType: t, fields: {log.a: &p [*p]}}]", "nested more than 100 deep"},
		"depth":      {"cases: [{name: a, raw: x, dataType: t, fields: {log.a: " + deep + "}}]", "nested more than 100 deep"},
		"size":       {"# " + strings.Repeat("x", maxFileSize), "larger than 16MiB"},
		"path":       {"cases: [{name: a, raw: x, dataType: t, absent: [" + strconv.Quote(strings.Repeat("a.", 100_000)) + "]}]", "events have no field"},
	} {
		if _, report := ParseCases("x_test.yml", []byte(test.text)); report.Err() == nil || !strings.Contains(report.String(), test.want) {
			t.Errorf("%s: want an error with %q, have %.500s", name, test.want, report)
		}
	}
}

// compactCase is a log or event of a case, "-" for none.
func compactCase[M interface {
	comparable
	String() string
}](m M,
) string {
	var none M
	if m == none {
		return "-"
	}
	return compact(m)
}
