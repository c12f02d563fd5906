package integration

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
)

// Under load the node is killed, and with it the bundled archive. Every log that
// was acked is in the files or the dead letters, as another reader than the
// archive's finds it there.
func TestArchiveUnderKill(t *testing.T) {
	t.Parallel()
	rounds := 3
	dir := shortdir.New(t)
	configure(t, dir, `
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
plugins:
  output: {order: [archive]}
  archive: {bundled: archive, alerts: false, day: arrival, maxBytes: 100000}
`)
	n := startNode(t, dir).await()
	s := startSender(t, dir, 400, someLog)
	for range rounds {
		_, before := s.counts()
		eventually(t, "the archive gets something", func() bool { _, now := s.counts(); return now > before+300 })
		pause := time.After(time.Duration(rand.N(500)) * time.Millisecond)
		<-pause
		n.kill()
		n = startNode(t, dir).await()
	}
	s.stop()
	o := observe(t, dir)
	o.rest()
	refused := map[string]bool{}
	for _, list := range o.dead() {
		for _, id := range list {
			refused[id] = true
		}
	}
	n.stop()
	count := archived(t, filepath.Join(dir, "archive"))
	lost, doubled := 0, 0
	for _, id := range s.acked {
		if count[id] == 0 && !refused[id] {
			lost++
		}
	}
	for _, times := range count {
		if times > 1 {
			doubled++
		}
	}
	if lost > 0 || len(count) == 0 {
		t.Errorf("of %d acked logs %d are lost", len(s.acked), lost)
	}
	t.Logf("%d kills of the node: %d acked, %d refused (%s), %d archived, lost %d, more than once %d", rounds, len(s.acked), len(refused), bridge.StreamDead, len(count), lost, doubled)
}

// archived counts the lines of an archive by their id. All files have to be
// ended and whole.
func archived(t *testing.T, dir string) map[string]int {
	t.Helper()
	count := map[string]int{}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".lock") {
			return err
		}
		if strings.Contains(name, ".open") || !strings.HasSuffix(name, ".ndjson.zst") {
			t.Errorf("left: %s", name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		content, err := d.DecodeAll(text, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for line := range bytes.Lines(content) {
			count[gjson.GetBytes(line, "id").Str]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
