package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsProgram is a NATS server as somebody else runs it, in a process of its
// own.
type natsProgram struct {
	Dir  string
	Port int

	// Of a server in a cluster: its name, the port for the others, and where it
	// finds those that it connects to.
	Name      string
	RoutePort int
	Routes    []string

	// Of a hub: the port for leaf nodes, and what the user edge-1 may do there.
	LeafPort int
	Edge     *server.Permissions
}

func (p natsProgram) run() error {
	o := &server.Options{
		Host: "127.0.0.1", Port: p.Port, JetStream: true, StoreDir: p.Dir, NoSigs: true, NoLog: true, SyncAlways: true,
	}
	if p.Name != "" {
		o.ServerName = p.Name
		// What the servers tell of each other would lead past the test's links.
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: p.RoutePort, NoAdvertise: true, Advertise: "127.0.0.1:1"}
		for _, r := range p.Routes {
			u, err := url.Parse(r)
			if err != nil {
				return err
			}
			o.Routes = append(o.Routes, u)
		}
	}
	if p.LeafPort != 0 {
		o.ServerName = "hub"
		o.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: p.LeafPort, NoAdvertise: true} // as for routes
		o.Users = []*server.User{
			{Username: "node", Password: "n"},
			{
				Username: "edge-1", Password: "e", Permissions: p.Edge,
				AllowedConnectionTypes: map[string]struct{}{"LEAFNODE": {}},
			},
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// natsServer is a running one. It keeps its port and its files when it is
// started again.
type natsServer struct {
	t   *testing.T
	p   natsProgram
	cmd *exec.Cmd

	build string // another build of this test binary, or empty
	clock clock  // of that build
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	return startNATSProgram(t, natsProgram{Dir: t.TempDir(), Port: freePort(t)})
}

func startNATSProgram(t *testing.T, p natsProgram) *natsServer {
	t.Helper()
	s := &natsServer{t: t, p: p}
	s.start()
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

// givenPorts are those that freePort has given.
var givenPorts sync.Map

// freePort is a port for a server that is started later. It is none of those that
// the system gives to whoever asks for any, which tests beside this one do: a
// server whose port for routes is taken goes on without it, and its cluster never
// has a leader.
func freePort(t *testing.T) int {
	t.Helper()
	const first, last = 20_000, 32_000 // Linux gives those from 32768 on
	for range 1000 {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		l.Close()
		if _, given := givenPorts.LoadOrStore(port, true); !given {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func (s *natsServer) url() string {
	if s.p.LeafPort != 0 {
		return fmt.Sprintf("nats://node:n@127.0.0.1:%d", s.p.Port)
	}
	return fmt.Sprintf("nats://127.0.0.1:%d", s.p.Port)
}

func (s *natsServer) start() {
	s.t.Helper()
	build := s.build
	if build == "" {
		var err error
		build, err = os.Executable()
		must(s.t, err)
	}
	s.cmd = exec.Command(build)
	s.cmd.Env = append(os.Environ(), program{NATS: &s.p}.env(), s.clock.env())
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the NATS server answers", func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.p.Port), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (s *natsServer) end(how syscall.Signal) {
	_ = s.cmd.Process.Signal(how)
	_ = s.cmd.Wait()
}
