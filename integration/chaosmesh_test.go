package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// chaosNode is a node of a mesh to which anything may happen.
type chaosNode struct {
	name    string
	dir     string
	records string
	plugins []string
	links   []*way // to each server
	env     []string
	p       *process
	s       *sender
	more    []*sender   // of fresh logs, done
	poison  atomic.Bool // the next log is one that its parsing plugin dies over
	stops   int         // ends that the test did not ask for
	newer   bool        // runs the other build, where there is one
	clock   clock       // where it runs a build whose clock can be set
}

// chaosMesh is nodes with a part of the mill's plugins each, on a cluster.
type chaosMesh struct {
	t       *testing.T
	cluster *natsCluster
	nodes   []*chaosNode
	o       *observer
	// pushes says that new pipelines come by epmesh config push, which from then on
	// overrules files.
	pushes bool
	// clocks are builds whose clocks can be set; nil where there are none.
	clocks *clockBuilds
	// revision counts pipelines; poisoned, logs that kill; freshes, calls of fresh.
	revision, poisoned, freshes int
}

// chaosPlugins says which node has which plugins: none has all.
var chaosPlugins = [][]program{
	{{Kind: plugin.Parsing, Name: "stamper"}, {Kind: plugin.Analysis, Name: "judge", Kit: true}},
	{{Kind: plugin.Parsing, Name: "stamper"}, {Kind: plugin.Correlation, Name: "collector"}},
	{{Kind: plugin.Analysis, Name: "judge", Kit: true}, {Kind: plugin.Output, Name: "archive", Kit: true}},
}

// startChaos starts the mesh; clocks is nil where no clock is to jump.
func startChaos(t *testing.T, clocks *clockBuilds) *chaosMesh {
	t.Helper()
	m := &chaosMesh{t: t, cluster: startCluster(t, 3, clocks), clocks: clocks}
	for i, programs := range chaosPlugins {
		n := &chaosNode{name: fmt.Sprint("n", i), dir: shortdir.New(t)}
		n.records = filepath.Join(n.dir, "records")
		links, url := m.cluster.links()
		n.links = links
		if clocks != nil {
			n.clock = newClock(t)
		}
		n.env = []string{"NODE_NAME=" + n.name, "NATS_URL=" + url, "EPMESH_NATS_REPLICAS=3", n.clock.env()}
		for _, p := range programs {
			p.Records, p.Frail = n.records, true
			p.install(t, n.dir)
			n.plugins = append(n.plugins, p.Name)
		}
		m.nodes = append(m.nodes, n)
	}
	m.lay()
	for _, n := range m.nodes {
		m.start(n)
	}
	for _, n := range m.nodes {
		n.p.await()
	}
	m.o = observeURL(t, m.cluster.url())
	return m
}

func (m *chaosMesh) start(n *chaosNode) {
	program := epmesh(m.t)
	if m.clocks != nil {
		program = m.clocks.node
	}
	if other := os.Getenv("EPMESH_BIN_NEW"); other != "" && n.newer {
		program = other
	}
	n.p = startProgram(m.t, program, n.dir, n.env...)
}

// pipeline is the mill, with a mark of its revision in each event.
func (m *chaosMesh) pipeline() string {
	m.revision++
	step := fmt.Sprintf("{source: raw}\n      - add: {function: string, params: {key: log.revision, value: \"%d\"}}", m.revision)
	return strings.Replace(mill, "{source: raw}", step, 1)
}

// lay replaces the pipeline files of all nodes.
func (m *chaosMesh) lay() {
	m.t.Helper()
	text := m.pipeline()
	for _, n := range m.nodes {
		configure(m.t, n.dir, text)
	}
}

// push has the mesh take a new revision, and reports false where the cluster
// cannot store one now.
func (m *chaosMesh) push() bool {
	m.t.Helper()
	return pushed(m.t, m.pipeline(), "--url", m.cluster.url(), "--wait", "0")
}

// send has every node's sender send its logs.
func (m *chaosMesh) send(rate int) {
	m.t.Helper()
	for _, n := range m.nodes {
		n.s = startSender(m.t, n.dir, rate, func(i int) *pb.Log {
			l := someLog(i)
			l.Id = n.name + "-" + l.GetId()
			if n.poison.CompareAndSwap(true, false) {
				l.Raw = `{"poison": true}`
			}
			return l
		})
	}
}

// recover starts the nodes that ended by themselves, as a service manager does,
// and counts them.
func (m *chaosMesh) recover() {
	for _, n := range m.nodes {
		select {
		case <-n.p.ended:
			n.stops++
			m.t.Logf("%s ended by itself: %v\n%s", n.name, n.p.err, lastLines(n.p.tail(), 5))
			m.start(n)
		default:
		}
	}
}

// pushed pushes a pipeline file, and reports false where that fails now.
func pushed(t *testing.T, text string, args ...string) bool {
	t.Helper()
	dir := t.TempDir()
	configure(t, dir, text)
	out, err := epmeshCommand(t, append([]string{"config", "push", dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Logf("config push: %v: %s", err, lastLines(strings.TrimSpace(string(out)), 1))
	}
	return err == nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// fresh sends a new log to each node at once, beside what the senders send, and
// returns when the last of them is an event with an alert.
func (m *chaosMesh) fresh() {
	m.t.Helper()
	m.freshes++
	began := time.Now()
	type step struct {
		what string
		done func() bool
	}
	var folders []string
	for _, n := range m.nodes {
		folders = append(folders, n.records)
	}
	events, alerts := newTail(m.t, "archive.events", 2, folders...), newTail(m.t, "collector.alerts", 3, folders...)
	var more []*sender
	var steps []step
	for _, n := range m.nodes {
		prefix := fmt.Sprint("fresh", m.freshes, "-", n.name, "-")
		s := startSender(m.t, n.dir, 20, func(i int) *pb.Log {
			l := someLog(i)
			l.Id = fmt.Sprint(prefix, i)
			return l
		})
		more = append(more, s)
		steps = append(steps,
			step{n.name + " acked", func() bool { _, acked := s.counts(); return acked > 0 }},
			step{n.name + " event", func() bool { return events.has(prefix+"0", 0) }},
			step{n.name + " alert", func() bool { return alerts.has(prefix+"0", 1) }})
	}
	var passed []string
	eventually(m.t, "a fresh log of each node is an event with an alert", func() bool {
		steps = slices.DeleteFunc(steps, func(s step) bool {
			done := s.done()
			if done {
				passed = append(passed, fmt.Sprintf("%s %.1fs", s.what, time.Since(began).Seconds()))
			}
			return done
		})
		return len(steps) == 0
	})
	m.t.Logf("fresh logs: %s", strings.Join(passed, ", "))
	for i, n := range m.nodes {
		more[i].stop()
		n.more = append(n.more, more[i])
	}
}

// join adds another sender's record to this one's. Both have stopped.
func (s *sender) join(other *sender) {
	s.made += other.made
	s.acked = append(s.acked, other.acked...)
	s.streams += other.streams
	s.stall = max(s.stall, other.stall)
}

// balance is the ledger of all nodes.
func (m *chaosMesh) balance() ledger {
	m.t.Helper()
	folder := m.t.TempDir()
	all := new(sender)
	for _, n := range m.nodes {
		for _, s := range append(n.more, n.s) {
			all.join(s)
		}
		for _, name := range []string{"archive.events", "archive.alerts", "collector.alerts"} {
			text, err := os.ReadFile(filepath.Join(n.records, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			must(m.t, err)
			f, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			must(m.t, err)
			_, err = f.Write(text)
			must(m.t, errors.Join(err, f.Close()))
		}
	}
	return balance(m.t, all, folder, m.o)
}

// pid is the process of a node's plugin; ok is false where none runs.
func (n *chaosNode) pid(t *testing.T, name string) (pid int, ok bool) {
	t.Helper()
	pids := records(t, n.records, name+".pids", 1)
	if len(pids) == 0 || !alive(pids[len(pids)-1][0]) {
		return 0, false
	}
	pid, err := strconv.Atoi(pids[len(pids)-1][0])
	must(t, err)
	return pid, true
}

// signalPlugin signals one of the node's plugins, if it runs.
func (n *chaosNode) signalPlugin(t *testing.T, name string, sig syscall.Signal) (pid int, ok bool) {
	t.Helper()
	pid, ok = n.pid(t, name)
	return pid, ok && syscall.Kill(pid, sig) == nil
}
