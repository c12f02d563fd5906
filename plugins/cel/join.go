package cel

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/plugins/cel/mesh"
)

const (
	// knowWait is how long the plugin waits at its start until it knows who else
	// there is. Then it serves all the same, and alerts say what is missing.
	knowWait = 3 * time.Second
	// maxAsked is how many questions of others are answered at once.
	maxAsked = 16
)

// join makes the histories of other nodes part of this one's, and returns what
// undoes it. It is called before the first event.
func (a *analyzer) join(ctx context.Context) (leave func()) {
	if !a.History.Mesh {
		return func() {}
	}
	node := cmp.Or(os.Getenv("NODE_NAME"), a.Host)
	h := mesh.New(mesh.Options{Self: node, Local: a.store, Wait: a.History.MeshWait.D(), Bytes: a.alertBytes, Logger: a.Logger})
	var peers *bridge.Peers
	opened := make(chan struct{})
	peers = bridge.OpenPeers(bridge.PeersOptions{
		Group: a.Name, Node: node, Forget: a.History.MeshForget.D(), Logger: a.Logger, Answers: maxAsked,
		Access: func() (bridge.StateAccess, error) {
			return bridge.ReadStateAccess(filepath.Join(a.Dir, "run", "state.json"), os.Getenv("NATS_URL"))
		},
		Answer: func(ctx context.Context, request []byte) []byte {
			<-opened
			return h.Answer(ctx, request, peers.MaxAnswer())
		},
	})
	close(opened)
	h.Join(peers)
	patience := time.NewTimer(knowWait)
	defer patience.Stop()
	select {
	case <-peers.Known():
		h.Meet(ctx)
	case <-patience.C:
	case <-ctx.Done():
	}
	a.mesh, a.peers = h, peers
	return peers.Close
}
