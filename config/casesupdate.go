package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"
)

// wantKeys are the keys of a case that say what it wants, in the order in which
// they are added.
var wantKeys = []string{"dropped", "dead", "fields", "matches", "event", "exact", "absent", "errors", "alerts"}

// plain is what the case says of its wants, as plain values.
func (w *Want) plain() map[string]any {
	out := make(map[string]any)
	texts := func(list []Text) []any {
		items := make([]any, len(list))
		for i, t := range list {
			items[i] = t.Source
		}
		return items
	}
	if w.Fields != nil {
		out["fields"] = w.Fields
	}
	if w.Matches != nil {
		m := make(map[string]any, len(w.Matches))
		for path, t := range w.Matches {
			m[path] = t.Source
		}
		out["matches"] = m
	}
	if w.Absent != nil {
		list := make([]any, len(w.Absent))
		for i, path := range w.Absent {
			list[i] = path
		}
		out["absent"] = list
	}
	if w.Event != nil {
		out["event"] = w.Event
	}
	if w.Errors != nil {
		out["errors"] = texts(w.Errors)
	}
	for key, b := range map[string]bool{"exact": w.Exact, "dropped": w.Dropped} {
		if b {
			out[key] = true
		}
	}
	if w.Alerts != nil {
		out["alerts"] = plainAlerts(w.Alerts)
	}
	if w.Dead != nil {
		out["dead"] = w.Dead.Source
	}
	return out
}

// Update gives the file's text with other wants for some of its cases, by their
// indexes. What need not change stays as it is to the byte: comments, order,
// style. The result was read again and says what was asked for; where that is
// not to be had the error names the case and the cure.
func (f *CaseFile) Update(wants map[int]Want) ([]byte, error) {
	if len(wants) == 0 {
		return f.data, nil
	}
	e := newEditor(f.data)
	for _, i := range slices.Sorted(maps.Keys(wants)) {
		want := wants[i]
		if err := e.replace(f.root, i, f.Cases[i].Want.plain(), want.plain()); err != nil {
			return nil, fmt.Errorf("%s: case %q: %w", f.Cases[i].Position, f.Cases[i].Name, err)
		}
	}
	text, err := e.text()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	again, report := ParseCases(f.Path, text)
	if report.Err() != nil || len(again.Cases) != len(f.Cases) || again.StripUnderscores != f.StripUnderscores || !reflect.DeepEqual(pathsOf(again.Files), pathsOf(f.Files)) || !reflect.DeepEqual(pathsOf(again.Rules), pathsOf(f.Rules)) {
		return nil, fmt.Errorf("%s: %w", f.Path, errEdit)
	}
	for i := range f.Cases {
		want := f.Cases[i].Want
		if changed, ok := wants[i]; ok {
			want = changed
		}
		a, b := again.Cases[i], f.Cases[i]
		if a.Name != b.Name || !proto.Equal(a.Log, b.Log) || !sameEvents(a.Events, b.Events) || !reflect.DeepEqual(a.Plugins, b.Plugins) || !SameValue(a.Want.plain(), want.plain()) {
			return nil, fmt.Errorf("%s: case %q: %w", b.Position, b.Name, errEdit)
		}
	}
	return text, nil
}

// errEdit is why a file is left as it is.
var errEdit = errors.New("the wants cannot be replaced without touching what else is written there; write the case in lines of its own, without anchors and aliases, and run --update again")

func sameEvents(a, b []CaseEvent) bool {
	return slices.EqualFunc(a, b, func(x, y CaseEvent) bool {
		return proto.Equal(x.Log, y.Log) && proto.Equal(x.Event, y.Event) && x.Times == y.Times && x.After == y.After && x.Every == y.Every
	})
}

func pathsOf(list []Named) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Name
	}
	return out
}

// WriteCases replaces a case file whole; its mode is kept, and a link to it
// stays a link. Readers see the old or the new text, never a part.
func WriteCases(path string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write case file %s: %w", path, reason(err))
		}
	}()
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone if renamed
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(info.Mode()&fs.ModePerm), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
