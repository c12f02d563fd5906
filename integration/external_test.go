package integration

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// The same whole way over a NATS server that somebody else runs, which is
// stopped, or killed, and started again under load: nothing that was acked is
// lost, and no alert is doubled.
func TestExternalServerRestarts(t *testing.T) {
	t.Parallel()
	_, rate, seed := soak(t)
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	nats := startNATS(t)
	dir := shortdir.New(t)
	folder, _ := installMill(t, dir)
	n := startNode(t, dir, "NATS_URL="+nats.url()).await()
	s := startSender(t, dir, rate, someLog)
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Second + time.Duration(random.IntN(1000))*time.Millisecond)
		nats.end([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2])
		<-time.After(time.Duration(random.IntN(1000)) * time.Millisecond)
		nats.start()
		_, before := s.counts()
		eventually(t, "Acks again", func() bool { _, now := s.counts(); return now > before })
	}
	s.stop()
	if s.streams != 1 {
		t.Errorf("the sender needed %d connections: the engine socket must outlive the NATS server", s.streams)
	}
	o := observeURL(t, nats.url())
	o.rest()
	t.Log(balance(t, s, folder, o))
	n.stop()
}
