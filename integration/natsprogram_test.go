package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
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
}

func (p natsProgram) run() error {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: p.Port, JetStream: true, StoreDir: p.Dir, NoSigs: true, NoLog: true, SyncAlways: true,
	})
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
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	s := &natsServer{t: t, p: natsProgram{Dir: t.TempDir(), Port: port}}
	s.start()
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.p.Port) }

func (s *natsServer) start() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(self)
	s.cmd.Env = append(os.Environ(), program{NATS: &s.p}.env())
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
