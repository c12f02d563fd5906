package archive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) {
	enginetest.Program(func(dir string, settings []byte) error {
		r, err := New(plugins.Instance{Name: "archive", Dir: dir, Host: "n1", Logger: plugins.NewLogger("archive", nil), Config: gjson.ParseBytes(settings)})
		if err != nil {
			return err
		}
		return r.Run(context.Background())
	})
	goleak.VerifyTestMain(m)
}

// The plugin is killed again and again while events come from many calls. The
// ledger of the test, of what was acknowledged, is held against what the tools
// of others read in the files. EPMESH_ROUNDS sets the number of rounds:
//
//	EPMESH_ROUNDS=20 go test ./plugins/archive -run Killed -v
func TestKilled(t *testing.T) {
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("EPMESH_ROUNDS")); err == nil {
		rounds = n
	}
	for _, compression := range []string{zstdName, gzipName} {
		t.Run(compression, func(t *testing.T) {
			dir := shortdir.New(t)
			settings := fmt.Sprintf(`{"compression":%q,"maxBytes":200000,"maxAge":"1s","maxOpen":4,"manifest":true}`, compression)
			ledger := map[string]bool{}
			var mu sync.Mutex
			var next atomic.Int64
			torn := 0
			// What was not acknowledged comes again, as from a node.
			var again []*pb.Event
			take := func() *pb.Event {
				mu.Lock()
				defer mu.Unlock()
				if n := len(again); n > 0 {
					e := again[n-1]
					again = again[:n-1]
					return e
				}
				return event(int(next.Add(1)), fmt.Sprint("t", rand.N(6)))
			}
			for range rounds {
				cmd := enginetest.Spawn(t, dir, settings)
				client := pb.NewOutputClient(enginetest.Dial(t, dir, "archive_output.sock"))
				ctx, end := context.WithCancel(t.Context()) // calls wait for a plugin that is gone
				var calls sync.WaitGroup
				var acked atomic.Int64
				for range 32 {
					calls.Go(func() {
						for {
							e := take()
							_, err := client.EventOutput(ctx, e)
							if err != nil {
								if s := status.Convert(err); strings.Contains(s.Message(), "write") {
									t.Error(err)
								}
								mu.Lock()
								again = append(again, e)
								mu.Unlock()
								return
							}
							acked.Add(1)
							mu.Lock()
							ledger[e.Id] = true
							mu.Unlock()
						}
					})
				}
				// Some time in the work, at no moment of its choice.
				for wanted := 300 + rand.N(int64(1500)); acked.Load() < wanted; {
					<-time.After(time.Millisecond)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
				end()
				calls.Wait()
				torn += tornFiles(t, filepath.Join(dir, "archive"))
			}
			last := enginetest.Spawn(t, dir, settings) // which mends what the last one left
			if err := last.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = last.Wait()
			got, names := read(t, filepath.Join(dir, "archive"), compression)
			lost, doubled := 0, 0
			for id := range ledger {
				if got[id] == 0 {
					lost++
				}
			}
			for _, n := range got {
				if n > 1 {
					doubled++
				}
			}
			if lost > 0 {
				t.Errorf("%d acknowledged events are lost", lost)
			}
			// At least once: what was written and not acknowledged, in a file that had
			// ended when the process was killed, is written again.
			if doubled > 32*rounds {
				t.Errorf("%d events are there more than once, more than were under way", doubled)
			}
			t.Logf("%d rounds: %d acknowledged, %d in %d files, lost %d, doubled %d; %d files had a torn end", rounds, len(ledger), len(got), names, lost, doubled, torn)
		})
	}
}

// tornFiles counts the open files with something behind their last whole frame.
func tornFiles(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for _, c := range codecs(t) {
		for _, name := range files(t, dir) {
			if !strings.HasSuffix(name, openMark+c.suffix()) {
				continue
			}
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			good, damaged, err := walk(c, f, info.Size(), func([]byte) {})
			if err != nil || damaged {
				t.Errorf("%s: damaged %v, %v", name, damaged, err)
			}
			if good < info.Size() {
				n++
			}
			f.Close()
		}
	}
	return n
}

// read counts ids as the tools zstd and gzip read the files, which complain of
// anything torn; without them by the libraries.
func read(t *testing.T, dir, compression string) (count map[string]int, number int) {
	t.Helper()
	tool, err := exec.LookPath(compression)
	if err != nil {
		t.Logf("no %s here: reading with the library", compression)
	}
	count = map[string]int{}
	for _, name := range files(t, dir) {
		if strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		number++
		if strings.Contains(name, openMark) {
			t.Errorf("%s is left open", name)
		}
		var list []string
		if tool == "" {
			list = lines(t, filepath.Join(dir, name))
		} else {
			out, err := exec.Command(tool, "-dc", filepath.Join(dir, name)).Output()
			if err != nil {
				t.Errorf("%s -dc %s: %v", tool, name, err)
			}
			list = strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		}
		for _, line := range list {
			if id := gjson.Get(line, "id").Str; id == "" || !gjson.Valid(line) {
				t.Errorf("%s: line %q", name, line)
			} else {
				count[id]++
			}
		}
	}
	return count, number
}
