package enginetest

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
)

// Sink is an engine socket for benchmarks: it acks what comes, as a node does that
// is never busy, and keeps nothing but the count.
type Sink struct {
	pb.UnimplementedEngineServer
	Dir   string
	Count atomic.Int64
}

// NewSink serves WORK_DIR/sockets/engine_server.sock below dir until the test
// ends.
func NewSink(t testing.TB, dir string) *Sink {
	t.Helper()
	path := filepath.Join(dir, "sockets", "engine_server.sock")
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	k := &Sink{Dir: dir}
	s := grpc.NewServer(grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20))
	pb.RegisterEngineServer(s, k)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return k
}

// Input acks whatever has come since the last Ack by one.
func (k *Sink) Input(s pb.Engine_InputServer) error {
	ids := make(chan string, 1024)
	go func() {
		defer close(ids)
		for {
			l, err := s.Recv()
			if err != nil {
				return
			}
			ids <- l.Id
		}
	}()
	for id := range ids {
		n := int64(1)
		for more := true; more; {
			select {
			case next, ok := <-ids:
				if more = ok; ok {
					id = next
					n++
				}
			default:
				more = false
			}
		}
		k.Count.Add(n)
		if err := s.Send(&pb.Ack{LastId: id}); err != nil {
			return err
		}
	}
	return nil
}
