package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// With sync always what was acked survives a power loss: the node is killed, and
// its disk keeps what was on it at that moment, without what the system would
// still have written. The same with a sync each two minutes shows that the cut is
// one: there acked logs are gone.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"always", "2m"} {
		t.Run(sync, func(t *testing.T) { powerLoss(t, sync) })
	}
}

func powerLoss(t *testing.T, sync string) {
	dir := shortdir.New(t)
	disk := mountDisk(t, filepath.Join(dir, "nats"), 1<<30)
	w := newWaitingMill(t, dir)
	n := startNode(t, dir, "EPMESH_NATS_SYNC="+sync).await()
	s := w.fill(dir)
	n.kill()
	disk.cutPower()
	s.abandon()

	w.begin()
	n = startNode(t, dir, "EPMESH_NATS_SYNC="+sync).await()
	lost := w.lost(s, observe(t, dir))
	t.Logf("sync %s: %d logs acked when the power went, %d of them lost", sync, len(s.acked), len(lost))
	switch {
	case sync == "always" && len(lost) > 0:
		t.Errorf("lost: %.10q", lost)
	case sync != "always" && len(lost) == 0:
		t.Error("nothing is lost without a sync: then the test proves nothing")
	}
	n.stop()
}

// A cluster of three servers, all of which lose their power at once.
func TestPowerLossOfCluster(t *testing.T) {
	t.Parallel()
	dir := shortdir.New(t)
	c := &natsCluster{t: t}
	var disks []*disk
	for i := range 3 {
		disks = append(disks, mountDisk(t, filepath.Join(dir, fmt.Sprint("disk", i)), 512<<20))
		c.servers = append(c.servers, &natsServer{t: t, p: natsProgram{
			Name: fmt.Sprint("s", i), Dir: filepath.Join(disks[i].at, "streams"), Port: freePort(t), RoutePort: freePort(t),
		}})
	}
	for _, s := range c.servers {
		for _, other := range c.servers {
			if s != other {
				s.p.Routes = append(s.p.Routes, fmt.Sprint("nats://127.0.0.1:", other.p.RoutePort))
			}
		}
		s.start()
		t.Cleanup(func() { s.end(syscall.SIGKILL) })
	}
	c.await()
	w := newWaitingMill(t, dir)
	n := startNode(t, dir, "NATS_URL="+c.url(), "EPMESH_NATS_REPLICAS=3").await()
	s := w.fill(dir)
	for _, server := range c.servers {
		_ = server.cmd.Process.Kill()
	}
	for _, server := range c.servers {
		_ = server.cmd.Wait()
	}
	n.kill()
	for _, d := range disks {
		d.cutPower()
	}
	s.abandon()

	for _, server := range c.servers {
		server.start()
	}
	w.begin()
	n = startNode(t, dir, "NATS_URL="+c.url(), "EPMESH_NATS_REPLICAS=3").await()
	lost := w.lost(s, observeURL(t, c.url()))
	t.Logf("three servers, sync always: %d logs acked when the power went, %d of them lost", len(s.acked), len(lost))
	if len(lost) > 0 {
		t.Errorf("lost: %.10q", lost)
	}
	n.stop()
}

// waitingMill is the mill whose plugins are kept away at first, so that all that
// is acked waits in the streams.
type waitingMill struct {
	t                 *testing.T
	folder, dir, away string
	names             []string
}

func newWaitingMill(t *testing.T, dir string) *waitingMill {
	t.Helper()
	w := &waitingMill{t: t, dir: filepath.Join(dir, "plugins"), away: filepath.Join(dir, "away")}
	w.folder, w.names = installMill(t, dir)
	must(t, os.Mkdir(w.away, 0o750))
	w.move(w.dir, w.away)
	return w
}

func (w *waitingMill) move(from, to string) {
	w.t.Helper()
	for _, name := range w.names {
		must(w.t, os.Rename(filepath.Join(from, name+".plugin"), filepath.Join(to, name+".plugin")))
	}
}

// fill sends as fast as it goes until a good number of logs are acked, and goes
// on sending.
func (w *waitingMill) fill(dir string) *sender {
	w.t.Helper()
	const logs = 6_000
	s := startSender(w.t, dir, 1_000_000, someLog)
	s.setWindow(10_000)
	eventually(w.t, "Acks", func() bool {
		_, acked := s.counts()
		return acked >= logs
	})
	return s
}

// begin puts the plugins where a node finds them.
func (w *waitingMill) begin() { w.move(w.away, w.dir) }

// lost are the acked logs that came to no end, once all is at rest.
func (w *waitingMill) lost(s *sender, o *observer) []string {
	w.t.Helper()
	o.rest()
	known := map[string]bool{}
	for _, e := range records(w.t, w.folder, "archive.events", 2) {
		known[e[0]] = true
	}
	for _, ids := range o.dead() {
		for _, id := range ids {
			known[id] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(s.acked), func(id string) bool { return known[id] })
}
