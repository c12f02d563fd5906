package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// placedMesh is a node that takes logs in and parses, and two of the groups eu and
// us that analyse.
type placedMesh struct {
	t       *testing.T
	server  *natsServer
	dirs    []string
	records []string
	groups  []string
	nodes   []*process
}

func startPlaced(t *testing.T) *placedMesh {
	t.Helper()
	m := &placedMesh{t: t, server: startNATS(t), groups: []string{"core", "eu", "us"}}
	for i, programs := range [][]program{
		{{Kind: plugin.Parsing, Name: "stamper"}, {Kind: plugin.Correlation, Name: "collector"}, {Kind: plugin.Output, Name: "archive", Kit: true}},
		{{Kind: plugin.Analysis, Name: "judge"}},
		{{Kind: plugin.Analysis, Name: "judge", Kit: true}},
	} {
		dir, records := shortdir.New(t), filepath.Join(t.TempDir(), "records")
		configure(t, dir, m.pipeline("eu", "us"))
		for _, p := range programs {
			p.Records = records
			p.install(t, dir)
		}
		m.dirs, m.records = append(m.dirs, dir), append(m.records, records)
		m.nodes = append(m.nodes, nil)
		m.start(i)
	}
	for _, n := range m.nodes {
		n.await()
	}
	return m
}

func (m *placedMesh) start(i int) {
	m.t.Helper()
	m.nodes[i] = startNode(m.t, m.dirs[i], "NATS_URL="+m.server.url(), fmt.Sprint("NODE_NAME=n", i), "NODE_GROUPS="+m.groups[i])
}

// pipeline is the mill, with rules about where the tenants e and u, and the data
// type d, are analysed.
func (m *placedMesh) pipeline(e, u string) string {
	return strings.Replace(mill, "[app]", "[app, d]", 1) + fmt.Sprintf("mesh:\n  place:\n    - {stage: analysis, tenant: e, groups: [%s]}\n    - {plugin: judge, tenant: u, groups: [%s]}\n    - {stage: analysis, dataType: d, groups: [eu]}\n", e, u)
}

// push has all nodes take other rules, and returns once they have.
func (m *placedMesh) push(e, u string) {
	m.t.Helper()
	eventually(m.t, "the nodes take other rules", func() bool { return pushed(m.t, m.pipeline(e, u), "--url", m.server.url()) })
}

// analysed are the events of a phase and kind that a node's plugin was given.
func (m *placedMesh) analysed(node int, prefix string) (n int) {
	m.t.Helper()
	for _, r := range records(m.t, m.records[node], "judge.events", 1) {
		if strings.HasPrefix(r[0], prefix) {
			n++
		}
	}
	return n
}

// Tenants and data types are analysed on nodes of their groups only, while nodes
// are killed, and after rules were changed under load; what no live node may take
// waits and is told. Nothing is lost or doubled.
func TestPlacedByTenantAndDataType(t *testing.T) {
	t.Parallel()
	m := startPlaced(t)
	o := observeURL(t, m.server.url())
	alerts := newTail(t, "collector.alerts", 3, m.records[0])
	var phase atomic.Pointer[string]
	next := func(name string) { phase.Store(&name) }
	next("first")
	kinds := []string{"e", "u", "d", "any"}
	s := startSender(t, m.dirs[0], 100, func(i int) *pb.Log {
		l := goodLog(i)
		kind := kinds[i%len(kinds)]
		l.Id = fmt.Sprint(*phase.Load(), "-", kind, "-", i)
		l.TenantId = kind
		if kind == "d" {
			l.TenantId, l.DataType = "any", "d"
		}
		return l
	})
	acked := func(prefix string) []string {
		return slices.DeleteFunc(s.ackedNow(), func(id string) bool { return !strings.HasPrefix(id, prefix) })
	}
	// through waits until so many logs of the phase and kind have their alerts.
	through := func(prefix string, n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d logs %s have their alerts", n, prefix), func() bool {
			ids := acked(prefix)
			return len(ids) >= n && !slices.ContainsFunc(ids[:n], func(id string) bool { return !alerts.has(id, 1) })
		})
	}
	for _, kind := range kinds {
		through("first-"+kind, 60)
	}
	const eu, us = 1, 2
	wrong := func(node int, prefixes ...string) {
		t.Helper()
		for _, prefix := range prefixes {
			if n := m.analysed(node, prefix); n > 0 {
				t.Errorf("%d events %s were analysed on a node of the group %s", n, prefix, m.groups[node])
			}
		}
	}

	// Without the node of eu, only what is its waits.
	m.nodes[eu].kill()
	next("alone")
	through("alone-u", 60)
	through("alone-any", 60)
	awaitStatus(t, "on a node that NODE_GROUPS puts in eu", "--url", m.server.url())
	if n := m.analysed(us, "alone-e") + m.analysed(us, "alone-d"); n > 0 {
		t.Errorf("%d events were analysed beside the rules", n)
	}
	m.start(eu)
	for _, kind := range kinds {
		through("alone-"+kind, 60)
	}
	wrong(us, "first-e", "first-d", "alone-e", "alone-d")
	wrong(eu, "first-u", "alone-u")

	// The rules are turned round under load, and a node dies over it.
	next("between")
	through("between-any", 20)
	m.nodes[eu].await()
	m.push("us", "eu")
	m.nodes[us].kill()
	m.start(us)
	m.nodes[us].await()
	next("after")
	for _, kind := range kinds {
		through("between-"+kind, 5)
		through("after-"+kind, 60)
	}
	wrong(us, "after-u", "after-d")
	wrong(eu, "after-e")

	s.stop()
	o.rest()
	t.Log(balance(t, s, m.records[0], o))
	for _, n := range m.nodes {
		n.stop()
	}
}
