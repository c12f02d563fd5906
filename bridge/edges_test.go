package bridge_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/bridge/certs"
)

func edgesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "edges")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Embedded servers are a hub, alone and as a cluster: an edge hands its logs to
// any of them over TLS, and to another when that one goes.
func TestEmbeddedHub(t *testing.T) {
	dir := t.TempDir()
	if _, err := certs.MakeCA(dir, "test", time.Hour, false); err != nil {
		t.Fatal(err)
	}
	edgeTLS := bridgetest.Certificate(t, dir, "edge-1")
	users := edgesFile(t, "# edges\nother pw\nedge-1 secret\n")
	for _, n := range []int{1, 3} {
		t.Run(map[int]string{1: "alone", 3: "cluster"}[n], func(t *testing.T) {
			edges := func(i int, o *bridge.ServerOptions) {
				o.Edges = bridge.EdgesOptions{Listen: "127.0.0.1:0", Users: users, TLS: hubCertificate(t, dir, o.Name)}
				if n == 1 {
					o.Cluster = bridge.ClusterOptions{}
				}
			}
			c := bridgetest.NewCluster(t, n, false, edges)
			servers := c.StartAll()
			var urls []string
			for _, s := range servers {
				urls = append(urls, "tls://edge-1:secret@"+s.EdgesAddr())
			}
			at := member(t, servers[n-1], "n", n, nil)
			ensureAll(t, at)
			e := startEdgeTLS(t, t.TempDir(), edgeTLS, urls...)
			store(t, e.Bridge, 0, 50)
			eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 })
			if n > 1 {
				c.Stop(0)
			}
			store(t, e.Bridge, 50, 100)
			take(t, at, 100)
			eventually(t, "the edge is done", func() bool { return e.waiting(t) == 0 })
		})
	}
}

func hubCertificate(t *testing.T, dir, name string) bridge.TLSFiles {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, name+".pem")); err == nil {
		return bridge.TLSFiles{CA: filepath.Join(dir, certs.CAFile), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	}
	return bridgetest.Certificate(t, dir, name, "127.0.0.1")
}

// An edge's user at an embedded hub is an edge's and nobody else's, and may no
// more than send.
func TestEmbeddedHubRefuses(t *testing.T) {
	srv, err := bridge.StartServer(bridge.ServerOptions{
		Name: "hub", Dir: t.TempDir(), SyncInterval: time.Minute, MaxPayload: 1 << 20, Listen: "127.0.0.1:0",
		Edges: bridge.EdgesOptions{Listen: "127.0.0.1:0", Users: edgesFile(t, "edge-1 secret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	ensureAll(t, bridgetest.Open(t, func(o *bridge.Options) { o.Server = srv }))
	e := startEdge(t, t.TempDir(), "nats-leaf://edge-1:secret@"+srv.EdgesAddr())
	store(t, e.Bridge, 0, 1)
	eventually(t, "the link works", func() bool { return e.waiting(t) == 0 })
	for _, subject := range []string{"$JS.API.INFO", "$KV.EPMESH_STATE.x", "epmesh.dead.x"} {
		if m, err := e.hub.Conn().Request(subject, nil, time.Second); err == nil {
			t.Errorf("an edge got an answer on %s: %s", subject, m.Data)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if _, err := bridge.Open(ctx, bridge.Options{Name: "x", URL: "nats://" + srv.Addr(), User: "edge-1", Password: "secret"}); err == nil || ctx.Err() != nil {
		t.Errorf("an edge got in as a node: %v", err)
	}
	for text, want := range map[string]string{
		"":                   "names no edge",
		"edge-1 a\nedge-1 b": ":2: the name is taken",
		"node secret":        "the name is taken",
		"one two three":      "write the name",
	} {
		_, err := bridge.StartServer(bridge.ServerOptions{
			Name: "hub", Dir: t.TempDir(), MaxPayload: 1 << 20, Edges: bridge.EdgesOptions{Listen: "127.0.0.1:0", Users: edgesFile(t, text)},
		})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err = bridge.StartServer(bridge.ServerOptions{Name: "hub", Dir: t.TempDir(), MaxPayload: 1 << 20, Edges: bridge.EdgesOptions{Listen: ":7422", Users: edgesFile(t, "a b")}})
	if err == nil || !strings.Contains(err.Error(), "TLS is needed") {
		t.Errorf("plain text: %v", err)
	}
}
