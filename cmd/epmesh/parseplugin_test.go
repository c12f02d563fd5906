package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/epmesh/epmesh/plugins"
	"github.com/tidwall/sjson"
)

// testPlugin is a parsing plugin named by its first argument, which scripts run
// as a process: it writes its name to log.by, refuses what contains "refuse",
// and dies of "poison", and once of "faint".
func testPlugin() {
	name, dir := os.Args[1], os.Getenv("WORK_DIR")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := plugins.Serve(ctx, plugins.Options{Name: name, Dir: dir, Parse: func(_ context.Context, t *plugins.Transform) (*plugins.Draft, error) {
		text := t.GetDraft().GetLog()
		switch {
		case strings.Contains(text, "refuse"):
			return nil, errors.New("not this one")
		case strings.Contains(text, "faint"):
			if f, err := os.OpenFile(filepath.Join(dir, "fainted"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				f.Close()
				die()
			}
		case strings.Contains(text, "poison"):
			die()
		}
		log, err := sjson.Set(text, "log.by", name)
		t.Draft.Log = log
		return t.GetDraft(), err
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
