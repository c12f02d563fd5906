package config_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func bundleNames(b config.Bundle) (names []string) {
	for _, f := range b {
		names = append(names, f.Name)
	}
	return names
}

// A bundle holds what nodes read, and comes back as it was.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pipeline/b.yaml": "patterns: {}\n", "pipeline/sub/a.yaml": "", "pipeline/a.cases.yaml": "cases: []\n", "pipeline/not.yml": "x", "pipeline/config.lock": "1",
		"rules/r.yml": "name: r\n", "rules/deep/er/s.yaml": "name: s\n", "rules/README.md": "x", "plugins/x.plugin": "x", "epmesh.yaml": "x",
	} {
		put(t, dir, name, text)
	}
	b, _ := config.ReadBundle(dir)
	want := []string{"pipeline/a.cases.yaml", "pipeline/b.yaml", "pipeline/sub/a.yaml", "rules/deep/er/s.yaml", "rules/r.yml"}
	if diff := cmp.Diff(want, bundleNames(b)); diff != "" {
		t.Fatal(diff)
	}
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("equal bundles differ as bytes (%v)", err)
	}
	got, err := config.DecodeBundle(data)
	if err != nil || !got.Equal(b) || b[0].Data == nil {
		t.Errorf("it came back as %v, %v", bundleNames(got), err)
	}
	if _, err := config.DecodeBundle(data[:len(data)/2]); err == nil {
		t.Error("half of a bundle is taken")
	}
}

func TestBundleStaysInItsFolders(t *testing.T) {
	for _, name := range []string{
		"../x.yaml", "pipeline/../x.yaml", "/pipeline/x.yaml", "plugins/x.yaml", "pipeline/x.plugin", "pipeline", "rules/../../x.yaml", "pipeline//x.yaml",
	} {
		data, err := config.Bundle{{Name: name, Data: []byte("x")}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := config.DecodeBundle(data); err == nil {
			t.Errorf("%q is taken: %v", name, bundleNames(b))
		}
	}
}

// What is laid down is the bundle and nothing else that a node reads; other
// files, and those that are as they should be, are left alone.
func TestLayDown(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pipeline/old.yaml": "x", "pipeline/gone/old.yaml": "x", "pipeline/same.yaml": "same", "pipeline/new.yaml": "before", "pipeline/notes.txt": "mine", "rules/old.yml": "x",
	} {
		put(t, dir, name, text)
	}
	before, err := os.Stat(filepath.Join(dir, "pipeline/same.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b := config.Bundle{
		{Name: "pipeline/deep/er.yaml", Data: []byte("d")},
		{Name: "pipeline/new.yaml", Data: []byte("after")},
		{Name: "pipeline/same.yaml", Data: []byte("same")},
		{Name: "rules/r.yml", Data: []byte("r")},
	}
	for range 2 {
		if err := b.LayDown(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if got, _ := config.ReadBundle(dir); !got.Equal(b) {
			t.Fatalf("laid down is %v", bundleNames(got))
		}
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		files = append(files, name)
		return err
	})
	want := []string{
		".", "pipeline", "pipeline/deep", "pipeline/deep/er.yaml", "pipeline/new.yaml", "pipeline/notes.txt", "pipeline/same.yaml", "rules", "rules/r.yml",
	}
	if diff := cmp.Diff(want, files); diff != "" || err != nil {
		t.Error(diff, err)
	}
	after, err := os.Stat(filepath.Join(dir, "pipeline/same.yaml"))
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("a file that was as it should be was written anew (%v)", err)
	}
}

// Whoever takes the lock to read sees one bundle whole, never a part of two.
func TestReadersWithTheLockSeeOneBundle(t *testing.T) {
	dir := t.TempDir()
	var bundles []config.Bundle
	for _, text := range []string{"one", "two"} {
		var b config.Bundle
		for _, name := range []string{"pipeline/a.yaml", "pipeline/b.yaml", "pipeline/c.yaml", "rules/r.yml"} {
			b = append(b, config.Source{Name: name, Data: []byte(text)})
		}
		bundles = append(bundles, b)
	}
	if err := bundles[0].LayDown(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		defer cancel()
		for range 50 {
			release, err := config.Lock(t.Context(), filepath.Join(dir, "pipeline"))
			if err != nil {
				t.Error(err)
				return
			}
			got, _ := config.ReadBundle(dir)
			if !slices.ContainsFunc(bundles, got.Equal) {
				t.Errorf("a part of two: %q", got)
			}
			if err := release(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := 1; ctx.Err() == nil; i++ {
		if err := bundles[i%2].LayDown(ctx, dir); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	reader.Wait()
}
