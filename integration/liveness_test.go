package integration

import (
	"math/rand/v2"
	"testing"
	"time"
)

// How soon a fresh log passes after each kind of fault, and after two at once
// that leave no majority of the servers. It prints them; EPMESH_LIVENESS says how
// long each lasts.
func TestLivenessInMesh(t *testing.T) {
	hold, wanted := lasting(t, "EPMESH_LIVENESS")
	if !wanted {
		t.Skip("EPMESH_LIVENESS=5s runs it: it takes minutes")
	}
	_, rate, seed := soak(t)
	random := rand.New(rand.NewPCG(seed, 4))
	m := startChaos(t, nil)
	m.send(rate / 4)
	begin := func(kind, other string) (mend func(), target string) {
		for {
			for _, f := range m.faults(random) {
				if f.kind != kind || f.target == other {
					continue
				}
				if mend := f.begin(); mend != nil {
					return mend, f.target
				}
			}
			<-time.After(100 * time.Millisecond) // it cannot be done now
		}
	}
	kinds := [][]string{{"server stopped", "server partitioned"}, {"server killed", "server stopped"}}
	for _, f := range m.faults(random) {
		kinds = append(kinds, []string{f.kind})
	}
	for _, kind := range kinds {
		var mends []func()
		other := ""
		for _, k := range kind {
			mend, target := begin(k, other)
			mends, other = append(mends, mend), target
		}
		<-time.After(hold)
		for _, mend := range mends {
			mend()
		}
		began := time.Now()
		m.recover()
		m.fresh()
		t.Logf("%v, %s: a fresh log passed %s after its end", kind, other, time.Since(began).Round(100*time.Millisecond))
		for _, n := range m.nodes {
			n.p.await()
		}
		m.cluster.whole(m.o)
	}
	for _, n := range m.nodes {
		n.s.stop()
	}
	m.o.rest()
	t.Log(m.balance())
}
