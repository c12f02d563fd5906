package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A fault befalls one target, and is over once mend has been called; nil where
// it could not be done now.
type fault struct {
	kind string
	// target is what it befalls, "*" for the whole mesh: nothing else befalls that
	// before it is mended.
	target string
	begin  func() (mend func())
}

// faults are all that can befall the mesh, with the targets drawn at random.
func (m *chaosMesh) faults(random *rand.Rand) []fault {
	n := m.nodes[random.IntN(len(m.nodes))]
	p := n.plugins[random.IntN(len(n.plugins))]
	i := random.IntN(len(m.cluster.servers))
	stalled := random.IntN(2) == 0
	list := []fault{
		{"node killed", n.name, func() func() {
			n.p.kill()
			return func() { m.start(n) }
		}},
		{"node stopped", n.name, func() func() {
			stopped := n.p.cmd.Process
			_ = stopped.Signal(syscall.SIGSTOP)
			return func() { _ = stopped.Signal(syscall.SIGCONT) }
		}},
		{"node upgraded", n.name, func() func() {
			select {
			case <-n.p.ready:
			default:
				return nil // it may not even mind signals yet
			}
			n.p.stop()
			n.newer = !n.newer
			return func() { m.start(n) }
		}},
		{"node partitioned", n.name, func() func() { return part(n.links, stalled) }},
		{"node's server out of reach", n.name, func() func() { return part(n.links[i:i+1], stalled) }},
		{"plugin killed", n.name, func() func() {
			if _, ok := n.signalPlugin(m.t, p, syscall.SIGKILL); !ok {
				return nil
			}
			return func() {}
		}},
		{"plugin stopped", n.name, func() func() {
			pid, ok := n.signalPlugin(m.t, p, syscall.SIGSTOP)
			if !ok {
				return nil
			}
			return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
		}},
		{"plugin slow", n.name, func() func() {
			slow := filepath.Join(n.records, p+".slow")
			must(m.t, os.WriteFile(slow, nil, 0o600))
			return func() { must(m.t, os.Remove(slow)) }
		}},
		{"poison log", n.name, func() func() {
			n.poison.Store(true)
			m.poisoned++
			return func() {}
		}},
		{"server killed", fmt.Sprint("s", i), func() func() {
			m.cluster.servers[i].end(syscall.SIGKILL)
			return m.cluster.servers[i].start
		}},
		{"server restarted", fmt.Sprint("s", i), func() func() {
			m.cluster.servers[i].end(syscall.SIGTERM)
			return m.cluster.servers[i].start
		}},
		{"server stopped", fmt.Sprint("s", i), func() func() {
			stopped := m.cluster.servers[i].cmd.Process
			_ = stopped.Signal(syscall.SIGSTOP)
			return func() { _ = stopped.Signal(syscall.SIGCONT) }
		}},
		{"server partitioned", fmt.Sprint("s", i), func() func() { return part(m.cluster.around(i), stalled) }},
		{"configuration pushed", "*", func() func() {
			if !m.pushes {
				m.lay()
			} else if !m.push() {
				return nil
			}
			return func() {}
		}},
	}
	if m.clocks != nil {
		// Nodes are set by up to an hour. What servers know of a duplicate window ends
		// with their time, so theirs stay within it.
		list = append(list, jump(m.t, "node's clock set", n.name, n.clock, random.IntN(7200)-3600),
			jump(m.t, "server's clock set", fmt.Sprint("s", i), m.cluster.servers[i].clock, random.IntN(120)-60))
	}
	if m.cluster.disk != "" {
		list = append(list, fault{"disk full", fmt.Sprint("s", len(m.cluster.servers)-1), m.cluster.fillDisk})
	}
	return list
}

// jump sets a clock by so many seconds, and back.
func jump(t *testing.T, kind, target string, c clock, seconds int) fault {
	return fault{kind, target, func() func() {
		c.set(t, time.Duration(seconds)*time.Second)
		return func() { c.set(t, 0) }
	}}
}

// part cuts links, or stalls them.
func part(links []*way, stalled bool) (mend func()) {
	for _, l := range links {
		if stalled {
			l.stall()
		} else {
			l.sever()
		}
	}
	return func() {
		for _, l := range links {
			l.mend()
		}
	}
}
