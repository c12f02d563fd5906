package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/bundled"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestStarter: what is laid down is a configuration without a fault.
func TestStarter(t *testing.T) {
	for name, s := range map[string]starter{
		"plain":     {Syslog: "127.0.0.1:5514"},
		"ipv6":      {Syslog: "[::1]:5514"},
		"no syslog": {},
		"ingest":    {Ingest: "127.0.0.1:7481"},
		"beyond":    {Ingest: "0.0.0.0:7481", Archive: true},
		"demo":      {Syslog: "127.0.0.1:5514", Demo: true, Rate: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config.Defaults()
			settings.Dir = t.TempDir()
			if err := prepareDir(settings.Dir); err != nil {
				t.Fatal(err)
			}
			if err := s.lay(t.Context(), settings); err != nil {
				t.Fatal(err)
			}
			set, report := config.Load(settings.PipelineDir())
			if len(report) > 0 {
				t.Errorf("%s", report)
			}
			_, ruleReport := config.LoadRules(settings.RulesDir())
			if len(ruleReport) > 0 {
				t.Errorf("%s", ruleReport)
			}
			want := map[string]string{"cel": "cel", "incidents": "incidents", "notify": "notify"}
			if s.Syslog != "" {
				want["syslog"] = "syslog"
			}
			if s.Ingest != "" {
				want["ingest"] = "http"
			}
			if s.Archive {
				want["archive"] = "archive"
			}
			if s.Demo {
				want["demo"] = "demo"
			}
			if diff := cmp.Diff(want, set.Bundled()); diff != "" {
				t.Error(diff)
			}
			for served, plugin := range set.Bundled() {
				if err := bundled.Check(plugin, served, settings.Dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestStarterOwnership: the starter file is ours as long as its first line says
// so; other files always are the user's.
func TestStarterOwnership(t *testing.T) {
	settings := config.Defaults()
	settings.Dir = t.TempDir()
	file := filepath.Join(settings.PipelineDir(), starterFile)
	lay := func(s starter) string {
		t.Helper()
		if err := s.lay(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one, two := starter{Syslog: "127.0.0.1:1", Demo: true, Rate: 1}, starter{Syslog: "127.0.0.1:2"}
	if got := lay(one); got != string(one.text()) {
		t.Errorf("got %s", got)
	}
	demo := filepath.Join(settings.PipelineDir(), "demo.yaml")
	if err := os.WriteFile(demo, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lay(two); got != string(two.text()) {
		t.Errorf("the address is not the new one: %s", got)
	}
	if got := lay(one); got != string(one.text()) {
		t.Errorf("got %s", got)
	}
	if text, _ := os.ReadFile(demo); string(text) != "# mine\n" {
		t.Errorf("a user's file was changed: %s", text)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	lay(one)
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("written again without need (%v)", err)
	}
	const mine = "plugins: {}\n"
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lay(two); got != mine {
		t.Errorf("a file that is not ours was changed: %s", got)
	}
}

func TestPrepareDirModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	if err := prepareDir(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{""}, workFolders...) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&^0o750 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	if err := inUse(dir); err != nil {
		t.Error(err)
	}
	lock := filepath.Join(dir, "run", "node.lock")
	if err := os.Mkdir(filepath.Dir(lock), 0o750); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := inUse(dir); err != nil {
		t.Error("a lock that nobody holds is in the way:", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := inUse(dir); err == nil {
		t.Error("a running node is not seen")
	}
	f.Close()
	if err := inUse(dir); err != nil || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
