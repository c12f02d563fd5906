package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
)

// edgeMesh is a hub, that is an external server with a node that does all the
// work, and an edge node whose link to it can be cut.
type edgeMesh struct {
	t      *testing.T
	hub    *natsServer
	link   *way
	worker *process
	folder string // of the records of the worker's plugins
	o      *observer

	dir  string // of the edge
	edge *process
	s    *sender
}

func startEdgeMesh(t *testing.T, worker ...string) *edgeMesh {
	t.Helper()
	m := &edgeMesh{t: t, dir: shortdir.New(t)}
	m.hub = startNATSProgram(t, natsProgram{
		Dir: t.TempDir(), Port: freePort(t), LeafPort: freePort(t), Edge: granted(t, "edge-1"),
	})
	m.link = newWay(t, fmt.Sprintf("127.0.0.1:%d", m.hub.p.LeafPort))
	dir := shortdir.New(t)
	m.folder, _ = installMill(t, dir)
	m.worker = startNode(t, dir, append([]string{"NATS_URL=" + m.hub.url(), "EPMESH_NATS_DUPLICATE_WINDOW=10m"}, worker...)...).await()
	m.o = observeURL(t, m.hub.url())
	m.startEdge()
	_, rate, _ := soak(t)
	m.s = startSender(t, m.dir, rate, someLog)
	return m
}

func (m *edgeMesh) startEdge() {
	m.t.Helper()
	m.edge = startNode(m.t, m.dir, "NODE_NAME=edge-1", "EPMESH_NATS_LEAF_URL=nats-leaf://edge-1:e@"+m.link.addr()).await()
}

// more waits until as many further logs are acked.
func (m *edgeMesh) more(n int) {
	m.t.Helper()
	_, before := m.s.counts()
	eventually(m.t, "the edge acks", func() bool { _, now := m.s.counts(); return now >= before+n })
}

// arrives waits until logs arrive at the hub.
func (m *edgeMesh) arrives() {
	m.t.Helper()
	before := m.o.stream(bridge.StreamLog).State.LastSeq
	eventually(m.t, "logs arrive at the hub", func() bool { return m.o.stream(bridge.StreamLog).State.LastSeq >= before+5 })
}

// status waits until the edge's status says so.
func (m *edgeMesh) status(text string) {
	m.t.Helper()
	awaitStatus(m.t, text, "--work-dir", m.dir)
}

// end stops the sender and says what came of it all.
func (m *edgeMesh) end() ledger {
	m.t.Helper()
	m.s.stop()
	edge := observe(m.t, m.dir)
	edge.rest()
	m.o.rest()
	l := balance(m.t, m.s, m.folder, m.o, edge)
	m.t.Log(l)
	m.edge.stop()
	m.worker.stop()
	return l
}

// An edge acks while its link is cut, and while it swallows everything; when the
// link is back, each log is an event at the hub, once.
func TestEdgeOutlivesItsLink(t *testing.T) {
	t.Parallel()
	// It is not about work that a slow node loses to another.
	m := startEdgeMesh(t, "EPMESH_STAGES_ACK_WAIT=1m")
	m.arrives()
	m.status("the link to the hub has been up for")
	for range 2 {
		m.link.sever()
		m.status("the link to the hub has been down for")
		m.more(500)
		m.link.mend()
		m.arrives()
	}
	m.link.stall()
	m.status("the link to the hub has been down for")
	m.more(500)
	m.link.mend()
	m.arrives()
	l := m.end()
	if l.duplicates > 0 || l.events+l.dead != l.acked {
		t.Errorf("%d events came twice; %d events and %d dead letters of %d logs", l.duplicates, l.events, l.dead, l.acked)
	}
	if letters := m.o.dead(); len(letters) > 0 {
		t.Errorf("dead letters at the hub: %v", letters)
	}
	if m.s.streams != 1 {
		t.Errorf("the sender needed %d connections", m.s.streams)
	}
	if n := strings.Count(m.edge.tail(), "link to the hub is down"); n != 3 {
		t.Errorf("it was said %d times that the link is down, for 3:\n%s", n, m.edge.tail())
	}
}

// The hub is killed while logs come in, then the edge too, in the middle of its
// work and while it waits for the hub: nothing that was acked is lost.
func TestEdgeAndHubAreKilled(t *testing.T) {
	t.Parallel()
	m := startEdgeMesh(t)
	for range 2 {
		m.arrives()
		m.edge.kill() // in the middle
		m.startEdge()
		m.arrives()
		m.hub.end(syscall.SIGKILL)
		m.more(300)
		m.edge.kill()
		m.startEdge()
		m.more(300)
		m.hub.start()
	}
	m.arrives()
	m.end()
}

// An ordinary node with its embedded server is a hub too. It is killed while logs
// come in.
func TestEdgeOfEmbeddedHub(t *testing.T) {
	t.Parallel()
	dir, port := shortdir.New(t), freePort(t)
	users := filepath.Join(t.TempDir(), "edges")
	if err := os.WriteFile(users, []byte("edge-1 e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	m := &edgeMesh{t: t, dir: shortdir.New(t), link: newWay(t, address)}
	m.folder, _ = installMill(t, dir)
	start := func() {
		m.worker = startNode(t, dir, "EPMESH_NATS_EDGES_LISTEN="+address, "EPMESH_NATS_EDGES_USERS="+users).await()
		m.o = observe(t, dir)
	}
	start()
	m.startEdge()
	_, rate, _ := soak(t)
	m.s = startSender(t, m.dir, rate, someLog)
	m.arrives()
	m.worker.kill()
	m.more(300)
	start()
	m.arrives()
	m.end()
}
