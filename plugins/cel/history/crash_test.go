package history

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

func killOptions() Options {
	return Options{MaxBytes: 1 << 30, MaxAge: day, Sync: 50 * time.Millisecond, SearchTime: time.Minute, events: 700}
}

// victim adds events until it is killed and says which were answered. It is the
// process that TestKilled starts.
func victim(dir string) {
	d, err := Open(dir, killOptions())
	if err == nil {
		err = d.Watch(Paths{Terms: []string{"origin.ip"}, Words: []string{"raw"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	from, _ := strconv.Atoi(os.Getenv("EPMESH_HISTORY_FROM"))
	var mu sync.Mutex // a line is whole, or the pipe ended in it
	for g := range 16 {
		go func() {
			for n := from + g; ; n += 16 {
				e := &pb.Event{Id: fmt.Sprint("id", n), DataType: "x", Raw: "word" + fmt.Sprint(n), Origin: &pb.Side{Ip: fmt.Sprint(n % 5)}}
				place, err := d.Add(context.Background(), e, time.Now())
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(n, place)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// What was answered is there after SIGKILL, with the place that was answered, at
// any moment: while segments are written, and while a start cleans up after the
// kill before. EPMESH_ROUNDS sets how often.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	answered := map[int]uint64{} // the record beside the store
	rounds, _ := strconv.Atoi(os.Getenv("EPMESH_ROUNDS"))
	if rounds == 0 {
		rounds = 4
	}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "EPMESH_HISTORY_VICTIM="+dir, fmt.Sprint("EPMESH_HISTORY_FROM=", round*1_000_000))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 200 + rand.IntN(4000); lines.Scan(); left-- {
			if left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var n int
			var place uint64
			if count, _ := fmt.Sscan(lines.Text(), &n, &place); count == 2 && strings.Count(lines.Text(), " ") == 1 {
				answered[n] = place
			}
		}
		_ = cmd.Wait()

		d, err := Open(dir, killOptions())
		if err != nil {
			t.Fatal(err)
		}
		every, err := config.ParseIndexPattern("v11-log-*")
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for n, place := range answered {
			if i++; i > 3000 && rounds < 100 {
				break
			}
			e := &pb.Event{Id: fmt.Sprint("id", n), DataType: "x"}
			if got, err := d.Add(t.Context(), e, time.Now()); err != nil || got != place {
				t.Fatalf("round %d: event %d has place %d, %v; %d was answered", round, n, got, err, place)
			}
			if i%50 == 0 {
				r, err := d.Search(t.Context(), Query{Index: every, Before: place + 1, Limit: 1, With: []Criterion{{Path: "raw", Match: true, Text: fmt.Sprint("word", n)}}})
				if err != nil || len(r.Events) != 1 || r.Events[0].Id != e.Id {
					t.Fatalf("event %d is not found: %v, %v", n, r, err)
				}
			}
		}
		t.Logf("round %d: %d answered, all there: %+v", round, len(answered), d.Stats())
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
