package plugins

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type testSettings struct {
	Limit int      `json:"limit"`
	Every Duration `json:"every"`
}

// settingsDir is a work dir with one pipeline file, which write replaces.
func settingsDir(t *testing.T) (dir string, write func(string)) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "pipeline", "p.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	return dir, func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSettings(t *testing.T) {
	dir, write := settingsDir(t)
	old := WorkDir
	WorkDir = dir
	t.Cleanup(func() { WorkDir = old })

	s := testSettings{Limit: 5, Every: Duration(time.Minute)}
	if err := Settings("mine", &s); err != nil || s.Limit != 5 {
		t.Errorf("no settings: %+v, %v", s, err)
	}
	write("plugins: {mine: {order: [x], env: {A: b}, limit: 7}}")
	if err := Settings("mine", &s); err != nil || s.Limit != 7 || s.Every.D() != time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"plugins: {mine: {limits: 7}}":  `plugins.mine: unknown setting "limits"; known at the top: every, limit`,
		"plugins: {mine: {limit: x}}":   "plugins.mine.limit: is a string, want a whole number",
		"plugins: {mine: {every: 30}}":  "no duration",
		"plugins: {mine: [1]}":          "want a mapping of settings",
		"plugins: {mine: {limit: 7.5}}": "want a whole number",
	} {
		write(text)
		s := testSettings{}
		if err := Settings("mine", &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWatchSettings(t *testing.T) {
	cfgPoll = 5 * time.Millisecond
	dir, write := settingsDir(t)
	write("plugins: {mine: {limit: 1}}")
	seen := SettingsOf(LoadConfig(dir), "mine").Raw
	type change struct {
		s   testSettings
		err error
	}
	changes := make(chan change, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watchSettings(ctx, dir, "mine", seen, testSettings{Limit: 5, Every: Duration(time.Minute)}, func(s testSettings, err error) {
			changes <- change{s, err}
		})
	}()
	next := func(text string) change {
		t.Helper()
		write(text)
		select {
		case c := <-changes:
			return c
		case <-time.After(20 * time.Second):
			t.Fatal("no change was seen")
			panic("unreachable")
		}
	}
	if c := next("plugins: {mine: {limit: 2, every: 1s}}"); c.err != nil || c.s.Limit != 2 || c.s.Every.D() != time.Second {
		t.Errorf("%+v", c)
	}
	if c := next("plugins: {mine: {limit: 3}}"); c.err != nil || c.s.Limit != 3 || c.s.Every.D() != time.Minute {
		t.Errorf("the default is not back: %+v", c)
	}
	if c := next("plugins: {mine: {limmit: 3}}"); c.err == nil {
		t.Errorf("a mistake: %+v", c)
	}
	if c := next("plugins: {other: {limit: 3}}"); c.err != nil || c.s.Limit != 5 {
		t.Errorf("gone: %+v", c)
	}
	cancel()
	<-ended
}
