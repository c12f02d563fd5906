package integration

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// Three nodes with different plugins, on a cluster of three servers, to which
// everything happens that can, one after the other and two at a time. Every
// acked log ends in the events or the dead letters, no alert is doubled, and once
// it is over a fresh log passes from each node.
func TestConservationInMesh(t *testing.T) {
	t.Parallel()
	long, rate, seed := soak(t)
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	var clocks *clockBuilds
	if long > 0 && os.Getenv("EPMESH_BIN") == "" {
		clocks = buildClocks(t)
	}
	m := startChaos(t, clocks)
	m.pushes = long > 0
	m.send(rate / 4)

	happened := map[string]int{}
	type active struct {
		target, what string
		mend         func()
	}
	var now []active
	// The first rounds are one of each kind, in random order.
	var deck []string
	for began, round := time.Now(), 0; round < rounds || time.Since(began) < long; round++ {
		if len(now) == 2 || len(now) == 1 && random.IntN(3) > 0 {
			now[0].mend()
			now = now[1:]
		}
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Duration(random.IntN(500)) * time.Millisecond)
		if len(now) == 0 {
			m.recover()
		}
		if len(deck) == 0 {
			for _, f := range m.faults(random) {
				deck = append(deck, f.kind)
			}
			random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		kind := deck[0]
		for _, f := range m.faults(random) {
			if f.kind != kind || slices.ContainsFunc(now, func(a active) bool { return a.target == f.target }) {
				continue
			}
			if mend := f.begin(); mend != nil {
				now = append(now, active{f.target, kind + ", " + f.target, mend})
				happened[kind]++
				deck = deck[1:]
			}
		}
		hold := 200 + random.IntN(2500)
		if long > 0 && random.IntN(8) == 0 {
			hold += random.IntN(20_000) // longer than anybody waits for an answer
		}
		<-time.After(time.Duration(hold) * time.Millisecond)
	}
	for _, a := range now {
		a.mend()
		t.Logf("last of all: %s", a.what)
	}
	over := time.Now()
	m.recover()
	settle := func() {
		for _, n := range m.nodes {
			n.p.await()
			n.s.stop()
		}
	}
	if long == 0 {
		// A machine that runs other tests beside may be far behind.
		settle()
		m.o.rest()
	}
	m.fresh()
	took := time.Since(over)
	t.Logf("%v; fresh logs of all nodes had passed %s after the last", happened, took.Round(time.Millisecond))
	if long > 0 {
		if took > 10*time.Second {
			t.Errorf("it took more than 10s until fresh logs passed")
		}
		settle()
	}
	m.cluster.whole(m.o)
	m.o.rest()
	l := m.balance()
	t.Log(l)
	for _, n := range m.nodes {
		if n.stops > 0 {
			t.Errorf("%s ended %d times by itself", n.name, n.stops)
		}
		n.p.stop()
	}
}
