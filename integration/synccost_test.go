package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// TestWhatSyncCosts compares how many logs a second are acked with sync always and
// with a sync each two minutes, one after the other in turns, on the disk of the
// temporary directory. EPMESH_SYNC=5s measures for so long each.
func TestWhatSyncCosts(t *testing.T) {
	window, wanted := lasting(t, "EPMESH_SYNC")
	if !wanted {
		t.Skip("EPMESH_SYNC=5s runs it: it measures")
	}
	rates := map[string][]float64{}
	for range 3 {
		for _, sync := range []string{"always", "2m"} {
			rates[sync] = append(rates[sync], ackRate(t, sync, window))
		}
	}
	t.Logf("logs acked a second: always %.0f, 2m %.0f", rates["always"], rates["2m"])
	for _, list := range rates {
		slices.Sort(list)
	}
	if share := rates["always"][1] / rates["2m"][1]; share < 0.5 {
		t.Errorf("with sync always %.2f of what is acked without, less than half", share)
	} else {
		t.Logf("with sync always %.2f of what is acked without", share)
	}
}

// ackRate is how many logs a second a node acks that is sent as many as it takes.
func ackRate(t *testing.T, sync string, window time.Duration) float64 {
	t.Helper()
	dir := shortdir.New(t)
	newWaitingMill(t, dir)
	n := startNode(t, dir, "EPMESH_NATS_SYNC="+sync).await()
	s := startSender(t, dir, 1_000_000, goodLog)
	s.setWindow(10_000)
	acked := func() int {
		_, acked := s.counts()
		return acked
	}
	eventually(t, "Acks", func() bool { return acked() > 20_000 })
	before, began := acked(), time.Now()
	<-time.After(window) // what is measured is what happens in it
	rate := float64(acked()-before) / time.Since(began).Seconds()
	s.abandon()
	n.kill()
	return rate
}
