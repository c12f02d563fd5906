package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
)

const (
	jsonPipeline = "pipeline:\n- dataTypes: [app]\n  steps: [{json: {source: raw}}]\n"
	addPipeline  = "pipeline:\n- dataTypes: [app]\n  steps:\n  - json: {source: raw}\n  - add: {function: string, params: {key: log.by, value: mesh}}\n"
)

func pushed(t *testing.T, b *bridge.Bridge, files ...string) bridge.Revision {
	t.Helper()
	var bundle config.Bundle
	for i := 0; i < len(files); i += 2 {
		bundle = append(bundle, config.Source{Name: files[i], Data: []byte(files[i+1])})
	}
	content, err := bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	base, err := b.CurrentRevision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.PushRevision(t.Context(), base, bridge.Revision{Author: "a@h"}, content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func applied(n uint64) func(node.Status) bool {
	return func(s node.Status) bool { return s.Revision.Applied == n && s.Revision.Seen == n }
}

// A revision that is pushed is laid down and run; one that does not compile is
// refused whole, with the reason, and the one before goes on; the next one that
// does is taken again.
func TestNodeTakesRevisions(t *testing.T) {
	url := bridgetest.External(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	dir := shortdir.New(t)
	write(t, dir, "local.yaml", jsonPipeline)
	n := start(t, dir, func(s *config.Settings) { s.NATS.URL = url })
	before := n.status(b)
	if before.Revision.Seen != 0 {
		t.Fatalf("nothing was pushed, and it says %+v", before.Revision)
	}

	pushed(t, b, "pipeline/a.yaml", addPipeline, "rules/r.yml", "name: r\ndataTypes: [app]\nwhere: 'true'\n")
	s := n.until(b, "the first revision", applied(1))
	if s.Config.Fingerprint == before.Config.Fingerprint || s.Config.Pipelines != 1 {
		t.Errorf("it runs %+v", s.Config)
	}
	if _, err := os.Stat(filepath.Join(dir, "pipeline/local.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file that is in no revision is still there: %v", err)
	}
	if kept := read(t, s.Revision.Replaced, "pipeline/local.yaml"); kept != jsonPipeline {
		t.Errorf("kept aside was %q", kept)
	}
	if got := read(t, dir, "pipeline/a.yaml"); got != addPipeline {
		t.Errorf("laid down was %q", got)
	}

	pushed(t, b, "pipeline/a.yaml", "pipeline: [{dataTypes: [app], steps: [{add: {where: 'exists('}}]}]\n")
	s = n.until(b, "the refusal", func(s node.Status) bool { return s.Revision.Refused })
	if s.Revision.Seen != 2 || s.Revision.Applied != 1 || !strings.Contains(strings.Join(s.Revision.Reasons, "\n"), "pipeline/a.yaml:1") || len(s.Config.Refused) != 0 {
		t.Errorf("it says %+v", s.Revision)
	}
	if got := read(t, dir, "pipeline/a.yaml"); got != addPipeline {
		t.Errorf("a refused revision was laid down: %q", got)
	}

	pushed(t, b, "pipeline/b.yaml", jsonPipeline)
	s = n.until(b, "the third revision", applied(3))
	if s.Config.Fingerprint != before.Config.Fingerprint || s.Revision.Replaced != "" {
		t.Errorf("it runs %+v, %+v", s.Config, s.Revision)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		reports, err := b.RevisionReports(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the mesh never knew: %+v, %v", reports, err)
		}
		if len(reports) == 1 && reports[0].Node == "n1" && reports[0].Applied == 3 {
			break
		}
	}
}

// A node that was away starts with what was pushed meanwhile, before it takes a
// log; local changes give way, and are kept aside once.
func TestNodeStartsWithTheCurrentRevision(t *testing.T) {
	url := bridgetest.External(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	external := func(s *config.Settings) { s.NATS.URL = url }
	dir := shortdir.New(t)
	pushed(t, b, "pipeline/a.yaml", jsonPipeline)
	n := start(t, dir, external)
	first := n.until(b, "the first revision", applied(1))
	if first.Config.Pipelines != 1 || first.Revision.Replaced != "" {
		t.Fatalf("it began with %+v, %+v", first.Config, first.Revision)
	}
	n.stop()

	write(t, dir, "a.yaml", "pipeline: []\n")
	pushed(t, b, "pipeline/a.yaml", addPipeline)
	for i := range 2 {
		n = start(t, dir, external)
		s := n.until(b, "the second revision", applied(2))
		if got := read(t, dir, "pipeline/a.yaml"); got != addPipeline {
			t.Errorf("start %d: it has %q", i, got)
		}
		if s.Config.Loaded.After(time.Now()) || s.Config.Fingerprint == first.Config.Fingerprint {
			t.Errorf("start %d: it runs %+v", i, s.Config)
		}
		n.stop()
		if kept, _ := filepath.Glob(filepath.Join(dir, "run/replaced-*")); len(kept) != 1 || read(t, kept[0], "pipeline/a.yaml") != "pipeline: []\n" {
			t.Errorf("start %d: kept aside are %v", i, kept)
		}
	}
}

// Where renaming was cut off, the next start finishes it, also without the
// mesh's help.
func TestCutOffRevisionIsFinished(t *testing.T) {
	url := bridgetest.External(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	external := func(s *config.Settings) { s.NATS.URL = url }
	dir := shortdir.New(t)
	pushed(t, b, "pipeline/a.yaml", jsonPipeline, "pipeline/b.yaml", "patterns: {x: y}\n")
	n := start(t, dir, external)
	n.until(b, "the revision", applied(1))
	n.stop()

	record := filepath.Join(dir, "run/revision.json")
	text := read(t, record)
	if err := errors.Join(
		os.WriteFile(record, []byte(strings.Replace(text, "}", `,"laying":true}`, 1)), 0o600),
		os.Remove(filepath.Join(dir, "pipeline/b.yaml")),
	); err != nil {
		t.Fatal(err)
	}
	elsewhere := bridgetest.External(t) // a mesh in which nothing was pushed
	n = start(t, dir, func(s *config.Settings) { s.NATS.URL = elsewhere })
	n.stop()
	if got := read(t, dir, "pipeline/b.yaml"); got != "patterns: {x: y}\n" {
		t.Errorf("the file is %q", got)
	}
	if strings.Contains(read(t, record), "laying") {
		t.Errorf("the record is %s", read(t, record))
	}
}

// A machine that cannot take the files now says so and takes them when it can.
func TestRevisionIsTriedAgain(t *testing.T) {
	url := bridgetest.External(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = url })
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", jsonPipeline)
	n := start(t, dir, func(s *config.Settings) { s.NATS.URL = url })
	// A folder in the way of a file that is to be.
	if err := os.MkdirAll(filepath.Join(dir, "pipeline/b.yaml/full"), 0o750); err != nil {
		t.Fatal(err)
	}
	pushed(t, b, "pipeline/b.yaml", addPipeline)
	s := n.until(b, "the failure", func(s node.Status) bool { return len(s.Revision.Reasons) > 0 })
	if s.Revision.Refused || s.Revision.Applied != 0 {
		t.Errorf("it says %+v", s.Revision)
	}
	if err := os.RemoveAll(filepath.Join(dir, "pipeline/b.yaml")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil && !applied(1)(n.status(b)) {
	}
	if s := n.status(b); !applied(1)(s) {
		t.Errorf("it never took it: %+v\n%s", s.Revision, n.log)
	}
}
