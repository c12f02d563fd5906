package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// natsCluster is servers that keep copies of each other's streams. Each has a
// link to every other, which the test can cut.
type natsCluster struct {
	t       *testing.T
	servers []*natsServer
	// routes[i][j] is the way that server i takes to server j.
	routes map[[2]int]*way
	// disk is the small file system of the last server, or empty where none can
	// be mounted.
	disk string
}

const clusterDisk = 192 << 20

// startCluster starts n servers; builds is nil where their clocks are true.
func startCluster(t *testing.T, n int, builds *clockBuilds) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, routes: map[[2]int]*way{}}
	for i := range n {
		c.servers = append(c.servers, &natsServer{t: t, p: natsProgram{Name: fmt.Sprint("s", i), Dir: t.TempDir(), Port: freePort(t), RoutePort: freePort(t)}})
	}
	for i, s := range c.servers {
		if builds != nil {
			s.build, s.clock = builds.server, newClock(t)
		}
		for j, other := range c.servers {
			if i == j {
				continue
			}
			w := newWay(t, fmt.Sprint("127.0.0.1:", other.p.RoutePort))
			c.routes[[2]int{i, j}] = w
			s.p.Routes = append(s.p.Routes, "nats://"+w.addr())
		}
	}
	last := c.servers[n-1]
	if err := unix.Mount("tmpfs", last.p.Dir, "tmpfs", 0, fmt.Sprint("size=", clusterDisk)); err != nil {
		t.Logf("no small disk is mounted, and so none is filled: %v", err)
	} else {
		c.disk = last.p.Dir
		t.Cleanup(func() { _ = unix.Unmount(c.disk, unix.MNT_DETACH) })
	}
	for _, s := range c.servers {
		s.start()
		t.Cleanup(func() { s.end(syscall.SIGKILL) })
	}
	c.await()
	return c
}

// await waits until the cluster has a leader.
func (c *natsCluster) await() {
	c.t.Helper()
	o := observeURL(c.t, c.url())
	eventually(c.t, "the cluster has a leader", func() bool {
		_, err := o.js.CreateOrUpdateStream(c.t.Context(), jetstream.StreamConfig{Name: "test", Subjects: []string{"test"}, Replicas: len(c.servers)})
		return err == nil
	})
	must(c.t, o.js.DeleteStream(c.t.Context(), "test"))
}

// url names all servers, past all links.
func (c *natsCluster) url() string {
	var urls []string
	for _, s := range c.servers {
		urls = append(urls, s.url())
	}
	return strings.Join(urls, ",")
}

// links gives a node a way of its own to each server.
func (c *natsCluster) links() (list []*way, url string) {
	var urls []string
	for _, s := range c.servers {
		l := newWay(c.t, fmt.Sprint("127.0.0.1:", s.p.Port))
		list = append(list, l)
		urls = append(urls, "nats://"+l.addr())
	}
	return list, strings.Join(urls, ",")
}

// around are the links of a server to the others.
func (c *natsCluster) around(i int) (list []*way) {
	for pair, l := range c.routes {
		if pair[0] == i || pair[1] == i {
			list = append(list, l)
		}
	}
	return list
}

// fillDisk leaves no byte free on the small disk, until the returned function is
// called. A server whose disk is full turns its JetStream off until it is started
// again, which is what its operator does once there is room.
func (c *natsCluster) fillDisk() (free func()) {
	c.t.Helper()
	file := filepath.Join(c.disk, "filler")
	f, err := os.Create(file)
	must(c.t, err)
	chunk := make([]byte, 64<<10)
	for size := len(chunk); size >= 512; {
		if _, err := f.Write(chunk[:size]); err != nil {
			size /= 2
		}
	}
	f.Close()
	s := c.servers[len(c.servers)-1]
	return func() {
		must(c.t, os.Remove(file))
		s.end(syscall.SIGKILL)
		s.start()
	}
}

// whole waits until all streams of epmesh have a leader and all copies.
func (c *natsCluster) whole(o *observer) {
	c.t.Helper()
	began := time.Now()
	what := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("after %s: %s", time.Since(began), what)
		}
	}()
	eventually(c.t, "all copies of the streams are current", func() bool {
		for _, name := range streams {
			s, err := o.js.Stream(c.t.Context(), name)
			if err != nil {
				what = fmt.Sprint(name, ": ", err)
				return false
			}
			info := s.CachedInfo().Cluster
			if info == nil || info.Leader == "" {
				what = name + ": no leader"
				return false
			}
			for _, r := range info.Replicas {
				if !r.Current || r.Offline {
					what = fmt.Sprintf("%s: %+v", name, *r)
					return false
				}
			}
		}
		return true
	})
}
