package integration

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tail is what comes to a record in some folders from now on.
type tail struct {
	t       *testing.T
	name    string
	fields  int
	folders []string
	from    []int64           // what was read of each
	values  []map[string]bool // of each field
}

func newTail(t *testing.T, name string, fields int, folders ...string) *tail {
	l := &tail{t: t, name: name, fields: fields, folders: folders, from: make([]int64, len(folders))}
	for range fields {
		l.values = append(l.values, map[string]bool{})
	}
	for i, folder := range folders {
		if s, err := os.Stat(filepath.Join(folder, name)); err == nil {
			l.from[i] = s.Size()
		}
	}
	return l
}

// has reports whether a line with this value of a field has come.
func (l *tail) has(value string, field int) bool {
	l.t.Helper()
	if l.values[field][value] {
		return true
	}
	for i, folder := range l.folders {
		f, err := os.Open(filepath.Join(folder, l.name))
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.NewSectionReader(f, l.from[i], 1<<40))
		f.Close()
		must(l.t, err)
		for line := range bytes.Lines(text) {
			if line[len(line)-1] != '\n' {
				break
			}
			l.from[i] += int64(len(line))
			fields := strings.Fields(string(line))
			if len(fields) != l.fields {
				l.t.Fatalf("record %s: line %q", l.name, line)
			}
			for n, v := range fields {
				l.values[n][v] = true
			}
		}
	}
	return l.values[field][value]
}
