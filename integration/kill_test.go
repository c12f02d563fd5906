package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// soak is what a long run is asked for with: EPMESH_SOAK, how long, EPMESH_RATE,
// logs a second, and EPMESH_SEED, which of all runs. See docs/testing.md.
func soak(t *testing.T) (long time.Duration, rate int, seed uint64) {
	t.Helper()
	var err error
	fail := func(name string) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	long, _ = lasting(t, "EPMESH_SOAK")
	rate = 400
	if v := os.Getenv("EPMESH_RATE"); v != "" {
		rate, err = strconv.Atoi(v)
		fail("EPMESH_RATE")
	}
	seed = uint64(time.Now().UnixNano())
	if v := os.Getenv("EPMESH_SEED"); v != "" {
		seed, err = strconv.ParseUint(v, 10, 64)
		fail("EPMESH_SEED")
	}
	return long, rate, seed
}

// lasting is how long a test goes on that is run where a variable says so, and
// whether it does.
func lasting(t *testing.T, variable string) (d time.Duration, wanted bool) {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d, true
}

// With load running, any plugin or the node is killed at random moments. Every
// acked log ends in the events or the dead letters, and no alert is doubled.
func TestConservationUnderKill(t *testing.T) {
	t.Parallel()
	long, rate, seed := soak(t)
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := shortdir.New(t)
	folder, names := installMill(t, dir)
	n := startNode(t, dir).await()
	s := startSender(t, dir, rate, someLog)

	kills, slowest := map[string]int{}, time.Duration(0)
	for began, round := time.Now(), 0; round < rounds || time.Since(began) < long; {
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Duration(random.IntN(2000)) * time.Millisecond)
		victim := "node"
		if i := random.IntN(len(names) + 2); i < len(names) {
			victim = names[i]
		}
		if victim == "node" {
			select {
			case <-n.ready:
				slowest = max(slowest, n.took)
			default:
			}
			n.kill()
			n = startNode(t, dir)
		} else if !killPlugin(t, folder, victim) {
			continue // it had not come back yet
		}
		kills[victim]++
		round++
	}
	n.await()
	s.stop()
	o := observe(t, dir)
	o.rest()
	t.Logf("killed %v over %d connections; the slowest start of a node took %s", kills, s.streams, slowest.Round(time.Millisecond))
	t.Log(balance(t, s, folder, o))
	n.stop()
}

// killPlugin kills the plugin's process, and reports false where none runs.
func killPlugin(t *testing.T, folder, name string) bool {
	t.Helper()
	pids := records(t, folder, name+".pids", 1)
	if len(pids) == 0 || !alive(pids[len(pids)-1][0]) {
		return false
	}
	pid, err := strconv.Atoi(pids[len(pids)-1][0])
	if err != nil {
		t.Fatal(err)
	}
	return syscall.Kill(pid, syscall.SIGKILL) == nil
}
