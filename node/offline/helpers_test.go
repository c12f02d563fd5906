package offline

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

const plain1 = `
pipeline:
  - dataTypes: [json]
    steps:
      - json: {}
      - drop: {where: 'exists("log.drop")'}
      - cast: {fields: [log.n], to: int}
`

// workDir is a work dir with one pipeline file, with a path that is short enough
// for sockets.
func workDir(t testing.TB, pipelines string) string {
	t.Helper()
	dir := shortdir.New(t)
	if err := os.Mkdir(filepath.Join(dir, "pipeline"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pipeline", "p.yaml"), []byte(pipelines), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// told are the texts that a Runner told.
type told struct {
	mu    sync.Mutex
	texts []string
}

func (t *told) tell(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.texts = append(t.texts, text)
}

func (t *told) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.texts)
}

// open opens a Runner that is closed with the test.
func open(t testing.TB, dir string, change func(*Options)) (*Runner, *told) {
	t.Helper()
	s := config.Defaults()
	s.Dir = dir
	var said told
	o := Options{Settings: s, Tell: said.tell, Wait: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, &said
}

func event(t testing.TB, r *Runner, log *pb.Log) *pb.Event {
	t.Helper()
	result, err := r.Run(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	e := new(pb.Event)
	if err := proto.Unmarshal(result.Event, e); err != nil {
		t.Fatal(err)
	}
	return e
}
