package bridgetest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/nats-io/nats-server/v2/server"
)

// Hub is an external server with a port for edges, as docs/security.md asks for
// it. It keeps its ports and its streams when it is started again.
type Hub struct {
	tb   testing.TB
	opts server.Options
	srv  *server.Server
}

// EdgePermissions are what an edge needs at its hub.
func EdgePermissions(node string) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"epmesh.log.>", "epmesh.message.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{bridge.EdgeInbox(node) + ".>"}},
	}
}

// NewHub starts a hub for the edge node of this name; change may set more.
func NewHub(tb testing.TB, node string, change func(*server.Options)) *Hub {
	tb.Helper()
	addresses := FreeAddresses(tb, 2)
	h := &Hub{tb: tb, opts: server.Options{
		ServerName: "hub", Host: "127.0.0.1", Port: port(tb, addresses[0]), JetStream: true, StoreDir: tb.TempDir(), NoSigs: true, NoLog: true,
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: port(tb, addresses[1])},
		Users: []*server.User{
			{Username: "node", Password: "n"},
			{
				Username: "edge", Password: "e", Permissions: EdgePermissions(node),
				AllowedConnectionTypes: map[string]struct{}{"LEAFNODE": {}},
			},
		},
	}}
	if change != nil {
		change(&h.opts)
	}
	h.Start()
	tb.Cleanup(h.Stop)
	return h
}

func port(tb testing.TB, address string) int {
	tb.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// Start starts it, the first time or again.
func (h *Hub) Start() {
	h.tb.Helper()
	opts := h.opts
	var err error
	if h.srv, err = server.NewServer(&opts); err != nil {
		h.tb.Fatal(err)
	}
	go h.srv.Start()
	if !h.srv.ReadyForConnections(20 * time.Second) {
		h.tb.Fatal("the hub does not start")
	}
}

// Stop stops it.
func (h *Hub) Stop() {
	h.srv.Shutdown()
	h.srv.WaitForShutdown()
}

// URL is where nodes connect.
func (h *Hub) URL() string { return "nats://node:n@127.0.0.1:" + strconv.Itoa(h.opts.Port) }

// EdgeURL is where edges connect.
func (h *Hub) EdgeURL() string {
	return "nats-leaf://edge:e@127.0.0.1:" + strconv.Itoa(h.opts.LeafNode.Port)
}
