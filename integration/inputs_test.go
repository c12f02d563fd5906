package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// While files are written, rotated and compressed, and a sender sends syslog over
// TCP, the plugins that take them and the node are killed at random moments.
// Every line is in the events once or, at worst, repeated with the same id.
//
//	EPMESH_ROUNDS=100 go test ./integration -run InputsUnderKill -v
func TestInputsUnderKill(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	rounds = roundsOf(t, rounds)
	_, _, seed := soak(t)
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, logs, addr := shortdir.New(t), t.TempDir(), freeAddress(t)
	folder := tailSetup(t, dir, logs, addr)
	n := startNode(t, dir).await()

	ledger, stop := &written{lines: map[string]bool{}}, make(chan struct{})
	renamed := &rotated{path: filepath.Join(logs, "renamed.log"), ledger: ledger, stop: stop}
	copied := &rotated{path: filepath.Join(logs, "copied.log"), truncate: true, ledger: ledger, stop: stop}
	sender := &chunks{addr: addr, ledger: ledger, stop: stop}
	var writers sync.WaitGroup
	for _, run := range []func() error{renamed.run, copied.run, sender.run} {
		writers.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	pause := make(chan time.Duration, 1)
	go func() { pause <- longestPause(filepath.Join(folder, "archive.raws"), stop) }()
	end := sync.OnceFunc(func() { close(stop); writers.Wait() })
	t.Cleanup(end)

	kills := map[string]int{}
	for round := 0; round < rounds; {
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Duration(200+random.IntN(1300)) * time.Millisecond)
		victim := []string{"files", "net", "node"}[random.IntN(3)]
		if victim == "node" {
			n.kill()
			n = startNode(t, dir)
		} else if pid := bundledPID(dir, victim); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			continue // it had not come back yet
		}
		kills[victim]++
		round++
	}
	n.await()
	end()
	awaitLines(t, ledger, folder)
	observe(t, dir).rest()
	t.Logf("rounds %d, killed %v; rotations: %d renamed, %d copied and truncated, %d compressed; syslog: %d chunks stored, %d sent again, longest stall of a chunk %s; longest pause without an event %s",
		rounds, kills, renamed.count, copied.count, renamed.packed+copied.packed, sender.sent, sender.again, sender.stall.Round(time.Millisecond), (<-pause).Round(time.Millisecond))
	t.Log(hold(t, ledger, folder))
	n.stop()
}

// awaitLines waits until every line is in the events, or nothing comes any more.
func awaitLines(t *testing.T, ledger *written, folder string) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	left, moved := -1, time.Now()
	for {
		now := missing(t, ledger, folder)
		if now == 0 {
			return
		}
		if now != left {
			left, moved = now, time.Now()
		}
		if time.Since(moved) > 20*time.Second {
			return // what is missing is counted, and named
		}
		<-tick.C
	}
}

// longestPause is the longest time in which a record did not grow, until stop.
func longestPause(path string, stop <-chan struct{}) (longest time.Duration) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	size, grew := int64(0), time.Now()
	for {
		select {
		case <-stop:
			return longest
		case <-tick.C:
		}
		if info, err := os.Stat(path); err == nil && info.Size() != size {
			longest = max(longest, time.Since(grew))
			size, grew = info.Size(), time.Now()
		}
	}
}
