package bridgetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/certs"
)

// Cluster is embedded servers that form a JetStream cluster on this machine.
// They are started and stopped one by one, and keep names, ports and folders.
type Cluster struct {
	tb      testing.TB
	options []bridge.ServerOptions
	servers []*bridge.Server
}

// NewCluster prepares n servers n1, n2, ... with folders of the test, which are
// not started. tls makes them check certificates of each other. change may set
// more; nil changes nothing.
func NewCluster(tb testing.TB, n int, tls bool, change func(i int, o *bridge.ServerOptions)) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, options: make([]bridge.ServerOptions, n), servers: make([]*bridge.Server, n)}
	routes := FreeAddresses(tb, n)
	dir := tb.TempDir()
	if tls {
		if _, err := certs.MakeCA(dir, "test", time.Hour, false); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		o := bridge.ServerOptions{
			Name: name, Dir: filepath.Join(tb.TempDir(), "nats"), SyncInterval: time.Minute, MaxPayload: 1 << 20,
			Cluster: bridge.ClusterOptions{Name: "test", Listen: routes[i], Routes: routes},
		}
		if tls {
			o.Cluster.TLS = Certificate(tb, dir, name, "127.0.0.1")
		}
		if change != nil {
			change(i, &o)
		}
		c.options[i] = o
	}
	tb.Cleanup(func() {
		for i := range n {
			c.Stop(i)
		}
	})
	return c
}

// Start starts the server with this index, and returns without waiting for the
// others.
func (c *Cluster) Start(i int) *bridge.Server {
	c.tb.Helper()
	s, err := bridge.StartServer(c.options[i])
	if err != nil {
		c.tb.Fatal(err)
	}
	c.servers[i] = s
	return s
}

// Stop stops it, if it runs.
func (c *Cluster) Stop(i int) {
	if s := c.servers[i]; s != nil {
		c.servers[i] = nil
		s.Shutdown()
	}
}

// StartAll starts all servers.
func (c *Cluster) StartAll() []*bridge.Server {
	c.tb.Helper()
	for i := range c.options {
		c.Start(i)
	}
	return c.servers
}

// Certificate makes one of the CA in dir for hosts.
func Certificate(tb testing.TB, dir, name string, hosts ...string) bridge.TLSFiles {
	tb.Helper()
	p, err := certs.Issue(dir, name, hosts, time.Hour, false)
	if err != nil {
		tb.Fatal(err)
	}
	return bridge.TLSFiles{CA: filepath.Join(dir, certs.CAFile), Cert: p.Cert, Key: p.Key}
}

// FreeAddresses are addresses of this machine that nobody listens on. Their
// ports are below those that systems give to outgoing connections, so that
// nobody takes one by chance before the test does.
func FreeAddresses(tb testing.TB, n int) []string {
	tb.Helper()
	var found []string
	for range 1000 {
		if len(found) == n {
			break
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		found = append(found, l.Addr().String())
	}
	if len(found) < n {
		tb.Fatal("no free ports")
	}
	return found
}
