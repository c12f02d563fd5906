package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// aliasBomb doubles its size with each line.
func aliasBomb(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	fmt.Fprintf(&b, "plugins: {x: *a%d}\n", levels-1)
	return b.String()
}

// mergeBomb does the same with merged mappings.
func mergeBomb(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 {x: 1}\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	fmt.Fprintf(&b, "plugins: *a%d\n", levels-1)
	return b.String()
}

// Files made to hurt are refused with a word, not with the node's memory.
func TestBounds(t *testing.T) {
	many := strings.Repeat("  - x\n", 100)
	for name, test := range map[string]struct{ text, want string }{
		"alias bomb":     {aliasBomb(40), "more than 524288 values"},
		"merge bomb":     {mergeBomb(12), "more than 524288 values"},
		"alias cycle":    {"plugins: &p {x: *p}", "nested more than 100 deep"},
		"merge cycle":    {"plugins: &p {<<: *p}", "nested more than 100 deep"},
		"cycle in steps": {"pipeline: &p [{dataTypes: *p}]", "expected a text, found a mapping"},
		"depth":          {"plugins: {x: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", "nested more than 100 deep"},
		"parser's depth": {strings.Repeat("[", 20_000), "exceeded max depth"},
		"size":           {"# " + strings.Repeat("x", maxFileSize), "larger than 16MiB"},
		"values":         {strings.Repeat("- \n", maxSigns+1), "more than 1048576 lines"},
		"problems":       {"pipeline:\n" + strings.Repeat(many, 10), "800 more problems in this file are not listed"},
		"UTF-16":         {"\xff\xfea\x00", "UTF-16"},
		"not UTF-8":      {"patterns:\n  a: \"\xe9\"\n", "x.yaml:2:7: error: the text is not UTF-8"},
		"control":        {"patterns:\n  ä: \"\x07\"\n", "x.yaml:2:7: error: control characters are not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, report := Parse("x.yaml", []byte(test.text))
			runtime.ReadMemStats(&after)
			if !strings.Contains(report.String(), test.want) || report.Err() == nil {
				t.Errorf("want an error with %q, have:\n%.2000s", test.want, report)
			}
			if len(report) > maxProblems+1 {
				t.Errorf("%d problems", len(report))
			}
			t.Logf("allocated %d MiB", (after.TotalAlloc-before.TotalAlloc)>>20)
			if used := Size(after.TotalAlloc - before.TotalAlloc); used > 512*MiB {
				t.Errorf("took %d MiB", used/MiB)
			}
		})
	}
	// The settings have the same reader.
	dir := t.TempDir()
	put(t, filepath.Join(dir, SettingsFile), aliasBomb(40))
	if _, err := LoadSettings(Sources{Dir: dir}); err == nil {
		t.Error("the settings took an alias bomb")
	}
	put(t, filepath.Join(dir, SettingsFile), "nats: &n {listen: *n}\nhttp: &h\n  listen: x\n  <<: *h\n")
	if _, err := LoadSettings(Sources{Dir: dir}); err == nil {
		t.Error("the settings took an alias cycle")
	}
}

// A byte order mark is none of the text.
func TestByteOrderMark(t *testing.T) {
	set, report := Parse("x.yaml", []byte("\ufeffpatterns: {a: b}\r\n"))
	if len(report) != 0 || set.Patterns["a"] != "b" {
		t.Errorf("%v %v", set.Patterns, report)
	}
}

func BenchmarkLoad(b *testing.B) {
	step := "      - grok:\n          patterns:\n            - fieldName: log.x\n              pattern: '{{.word}}'\n          source: raw\n          where: exists(\"raw\")\n"
	data := []byte("pipeline:\n  - dataTypes: [a]\n    steps:\n" + strings.Repeat(step, 500))
	dir := b.TempDir()
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), bytes.Clone(data), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(10 * len(data)))
	for b.Loop() {
		if set, report := Load(dir); len(report) > 0 || len(set.Pipelines) != 10 {
			b.Fatal(report)
		}
	}
}
