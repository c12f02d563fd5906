package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/nats-io/nats.go/jetstream"
)

// refuses waits until a node has ended by itself with exit code 1 and said all of
// want, without ever having taken a log.
func refuses(t *testing.T, p *process, dir string, want ...string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-p.ready:
		t.Fatalf("the node runs\n%s", p.tail())
	case <-time.After(patience):
		t.Fatalf("the node does not end\n%s", p.tail())
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.err); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", p.err)
	}
	eventually(t, "what it wrote is read", func() bool { return strings.Contains(p.tail(), "epmesh: ") })
	for _, w := range want {
		if !strings.Contains(p.tail(), w) {
			t.Errorf("it does not say %q:\n%s", w, p.tail())
		}
	}
	if sockets, _ := filepath.Glob(filepath.Join(dir, "sockets", "*")); len(sockets) > 0 {
		t.Errorf("it has opened %v", sockets)
	}
}

// A node does not run where its own settings contradict the durability that they
// ask for, and where the servers do.
func TestDurabilityIsRefused(t *testing.T) {
	t.Parallel()
	dir := shortdir.New(t)
	refuses(t, startNode(t, dir, "EPMESH_NATS_DURABILITY=power-loss", "EPMESH_NATS_SYNC=2m"), dir,
		"power-loss is asked for, and nats.sync is 2m", "set nats.sync: always")

	url := bridgetest.External(t)
	o := observeURL(t, url)
	startNode(t, shortdir.New(t), "NATS_URL="+url, "EPMESH_NATS_DURABILITY=crash").await().stop()
	s, err := o.js.Stream(t.Context(), "EPMESH_MESSAGE")
	must(t, err)
	cfg := s.CachedInfo().Config
	must(t, o.js.DeleteStream(t.Context(), cfg.Name))
	cfg.PersistMode = jetstream.AsyncPersistMode
	_, err = o.js.CreateStream(t.Context(), cfg)
	must(t, err)
	dir = shortdir.New(t)
	refuses(t, startNode(t, dir, "NATS_URL="+url, "EPMESH_NATS_DURABILITY=crash"), dir, "EPMESH_MESSAGE")
}

// Of three nodes with servers of one cluster each knows how the others' sync: one
// that asks for more than a member keeps does not start, and says which member.
func TestDurabilityOfMembers(t *testing.T) {
	t.Parallel()
	routes := bridgetest.FreeAddresses(t, 3)
	dirs := []string{shortdir.New(t), shortdir.New(t), shortdir.New(t)}
	start := func(i int, env ...string) *process {
		return startNode(t, dirs[i], append([]string{
			fmt.Sprintf("NODE_NAME=n%d", i+1), "EPMESH_NATS_REPLICAS=3", "EPMESH_NATS_CLUSTER_LISTEN=" + routes[i],
			"EPMESH_NATS_CLUSTER_ROUTES=" + strings.Join(routes, ","),
		}, env...)...)
	}
	all := []*process{start(0), start(1, "EPMESH_NATS_SYNC=3m"), start(2)}
	for _, p := range all {
		p.await()
	}
	all[2].stop()
	must(t, os.RemoveAll(filepath.Join(dirs[2], "sockets")))
	refuses(t, start(2, "EPMESH_NATS_DURABILITY=crash,power-loss,server-loss"), dirs[2], "the server of node n2 syncs every 3m0s")
	all[1].stop()
	all[1] = start(1).await()
	third := start(2, "EPMESH_NATS_DURABILITY=crash,power-loss,server-loss").await()
	if !strings.Contains(third.tail(), "asks for crash, power-loss, server-loss, and that is kept") {
		t.Errorf("it does not say what is kept:\n%s", third.tail())
	}
	third.stop()
	for _, p := range all[:2] {
		p.kill() // two of three, which nothing is left to do for
	}
}
