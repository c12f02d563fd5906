package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// sender sends logs on a node's engine socket at a rate, over as many
// connections as that takes, and writes down which were acked, at the moment of
// the Ack: that record owes nothing to what the node made of them. What was not
// acked when a connection broke is sent again, byte for byte.
type sender struct {
	t      *testing.T
	socket string
	rate   int // logs a second
	window int // on their way without an Ack
	make   func(n int) *pb.Log

	stopping chan struct{}
	done     chan struct{}
	cancel   context.CancelFunc

	mu       sync.Mutex
	made     int
	unacked  []*pb.Log // oldest first
	acked    []string
	progress time.Time // when an Ack came, or something began to wait for one
	stall    time.Duration
	streams  int
}

// startSender sends until stop. make gives the log with a number, from 0.
func startSender(t *testing.T, dir string, rate int, makeLog func(n int) *pb.Log) *sender {
	t.Helper()
	s := &sender{
		t: t, socket: filepath.Join(dir, "sockets", "engine_server.sock"), rate: rate, window: 2000, make: makeLog,
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
	t.Cleanup(s.abandon)
	return s
}

// stop makes no more logs and waits until all are acked.
func (s *sender) stop() {
	s.t.Helper()
	close(s.stopping)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("%d logs are never acked", s.waiting())
	}
}

// abandon ends it whatever waits for an Ack.
func (s *sender) abandon() {
	s.cancel()
	<-s.done
}

func (s *sender) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unacked)
}

// counts are how many logs were made, and how many of them acked.
func (s *sender) counts() (made, acked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, len(s.acked)
}

// ackedNow are the ids of the logs that are acked by now.
func (s *sender) ackedNow() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acked)
}

// setWindow changes how many logs may be on their way.
func (s *sender) setWindow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window = n
}

func (s *sender) run(ctx context.Context) {
	conn, err := grpc.NewClient("unix://"+s.socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for !s.stream(ctx, conn) {
		conn.ResetConnectBackoff()
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// stream sends over one stream until it breaks, and reports whether everything
// is done.
func (s *sender) stream(ctx context.Context, conn *grpc.ClientConn) (done bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewEngineClient(conn).Input(ctx)
	if err != nil {
		return false
	}
	s.mu.Lock()
	again := slices.Clone(s.unacked)
	s.streams++
	s.mu.Unlock()
	acks := make(chan struct{})
	var onStream struct {
		sync.Mutex
		ids map[string]bool
	}
	onStream.ids = map[string]bool{}
	go func() {
		defer close(acks)
		defer cancel()
		for {
			ack, err := stream.Recv()
			if err != nil {
				return
			}
			onStream.Lock()
			known := onStream.ids[ack.GetLastId()]
			onStream.Unlock()
			if !known {
				s.t.Errorf("an Ack of %q, which was not sent on this stream", ack.GetLastId())
				return
			}
			s.ack(ack.GetLastId())
		}
	}()
	defer func() { cancel(); <-acks }()
	send := func(l *pb.Log) bool {
		onStream.Lock()
		onStream.ids[l.GetId()] = true
		onStream.Unlock()
		return stream.Send(l) == nil
	}
	for _, l := range again {
		if !send(l) {
			return false
		}
	}
	return s.feed(ctx, send)
}

// feed makes and sends new logs at the rate.
func (s *sender) feed(ctx context.Context, send func(*pb.Log) bool) (done bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin, fed := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.stopping:
			if s.waiting() == 0 {
				return true
			}
			<-tick.C
			continue
		case <-tick.C:
		}
		due := int(time.Since(begin).Seconds()*float64(s.rate)) - fed
		for range due {
			l := s.next()
			if l == nil {
				// What the window held back is not made up for.
				begin, fed = time.Now(), 0
				break
			}
			fed++
			if !send(l) {
				return false
			}
		}
	}
}

func (s *sender) next() *pb.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unacked) >= s.window {
		return nil
	}
	l := s.make(s.made)
	s.made++
	if len(s.unacked) == 0 {
		s.progress = time.Now()
	}
	s.unacked = append(s.unacked, l)
	return l
}

// ack takes off everything up to the id.
func (s *sender) ack(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.unacked, func(l *pb.Log) bool { return l.GetId() == id })
	if i < 0 {
		s.t.Errorf("an Ack of %q, which is acked already", id)
		return
	}
	for _, l := range s.unacked[:i+1] {
		s.acked = append(s.acked, l.GetId())
	}
	s.unacked = s.unacked[i+1:]
	s.stall = max(s.stall, time.Since(s.progress))
	s.progress = time.Now()
}

// someLog is the log with a number. Every hundredth is one that the engine
// socket has to refuse.
func someLog(n int) *pb.Log {
	l := goodLog(n)
	if n%100 == 99 {
		l.Raw = ""
	}
	return l
}

// goodLog is one that is not refused.
func goodLog(n int) *pb.Log {
	return &pb.Log{
		Id: fmt.Sprintf("log-%d", n), DataType: "app", DataSource: "test", TenantId: "t1", Timestamp: "2026-01-01T00:00:00Z",
		Raw: fmt.Sprintf(`{"n": %d, "text": "%s"}`, n, strings.Repeat("x", 100)),
	}
}
