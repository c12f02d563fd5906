package plugin_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
)

// otherPlugin is a correlation plugin of another make than the kit.
type otherPlugin struct {
	pb.UnimplementedCorrelationServer
	lane    func(pb.Lane_RunServer) error // nil: it has none
	singles atomic.Int64                  // calls one by one
	unknown atomic.Int64                  // calls of services that it does not have
}

func (p *otherPlugin) Correlate(context.Context, *pb.Alert) (*emptypb.Empty, error) {
	p.singles.Add(1)
	return &emptypb.Empty{}, nil
}

func (p *otherPlugin) Run(stream pb.Lane_RunServer) error { return p.lane(stream) }

// serve has the plugin answer on its socket until the test ends, or stop.
func (p *otherPlugin) serve(t *testing.T, dir string) (stop func()) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, plugin.SocketName(plugin.Correlation, "p")))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		p.unknown.Add(1)
		method, _ := grpc.MethodFromServerStream(stream)
		if method != pb.Lane_Run_FullMethodName {
			t.Errorf("called %s", method)
		}
		return errors.New("no such service")
	}))
	pb.RegisterCorrelationServer(s, p)
	if p.lane != nil {
		pb.RegisterLaneServer(s, p)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	stop = sync.OnceFunc(func() { s.Stop(); <-done })
	t.Cleanup(stop)
	return stop
}

// A plugin without a lane is asked for one once in its life, and not told
// of anything else that it does not know.
func TestLaneIsAskedForOnce(t *testing.T) {
	dir := socketDir(t)
	log, text := logger(t)
	r := plugin.NewRegistry(plugin.Options{Dir: dir, Logger: log})
	serve(t, r.Serve)
	c := r.Client(plugin.Correlation, "p")
	for range 2 {
		p := &otherPlugin{}
		stop := p.serve(t, dir)
		waitLive(t, c)
		gone := c.Gone()
		poll(t, "the question", func() bool { return p.unknown.Load() == 1 })
		for range 100 {
			if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if p.unknown.Load() != 1 || p.singles.Load() != 100 || r.Snapshot()[0].Lane {
			t.Errorf("%d unknown calls, %d single ones, %+v", p.unknown.Load(), p.singles.Load(), r.Snapshot()[0])
		}
		stop()
		waitClosed(t, "gone", gone)
	}
	if strings.Contains(text.String(), "lane") {
		t.Error("the log speaks of it")
	}
}

func offer(stream pb.Lane_RunServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	return stream.Send(&pb.LaneAnswers{Offer: &pb.LaneOffer{MaxBytes: 1 << 20}})
}

// A lane that ends while the plugin lives has its calls tried again, and the
// next ones made one by one.
func TestLaneBreaks(t *testing.T) {
	for name, end := range map[string]func(pb.Lane_RunServer) error{
		"ends":  func(pb.Lane_RunServer) error { return nil },
		"fails": func(pb.Lane_RunServer) error { return errors.New("out of order") },
		"malformed": func(stream pb.Lane_RunServer) error {
			m := &pb.LaneAnswers{}
			m.ProtoReflect().SetUnknown([]byte{2<<3 | 2, 1, 0xff})
			if err := stream.Send(m); err != nil {
				return err
			}
			<-stream.Context().Done()
			return nil
		},
		"too large": func(stream pb.Lane_RunServer) error {
			if err := stream.Send(&pb.LaneAnswers{Answers: []*pb.LaneAnswer{{Text: strings.Repeat("x", 5<<20)}}}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := socketDir(t)
			opened := atomic.Int64{}
			p := &otherPlugin{lane: func(stream pb.Lane_RunServer) error {
				opened.Add(1)
				if err := offer(stream); err != nil {
					return err
				}
				if _, err := stream.Recv(); err != nil {
					return err
				}
				return end(stream)
			}}
			p.serve(t, dir)
			r := newRegistry(t, dir, func(o *plugin.Options) { o.MaxReply = 1 << 20 })
			c := r.Client(plugin.Correlation, "p")
			way{kit: true}.waitLive(t, r, c)
			err := c.Correlate(t.Context(), []byte{}, plugin.CallOptions{})
			if _, answered := plugin.Answered(err); plugin.Class(err) != plugin.Busy || answered || !strings.Contains(err.Error(), "broke off its lane") {
				t.Errorf("%v, answered %v: %v", plugin.Class(err), answered, err)
			}
			for range 10 {
				if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
					t.Error(err)
				}
			}
			if s := r.Snapshot()[0]; p.singles.Load() != 10 || s.Lane || s.State != plugin.StateLive || s.Failures != 1 || opened.Load() != 1 {
				t.Errorf("%d single calls, %d lanes, %+v", p.singles.Load(), opened.Load(), s)
			}
		})
	}
}

// What is no offer is no lane.
func TestLaneIsNotOffered(t *testing.T) {
	for name, lane := range map[string]func(pb.Lane_RunServer) error{
		"silent": func(stream pb.Lane_RunServer) error {
			<-stream.Context().Done()
			return nil
		},
		"answers at once": func(stream pb.Lane_RunServer) error {
			return stream.Send(&pb.LaneAnswers{Answers: []*pb.LaneAnswer{{Id: 1}}})
		},
		"takes too little": func(stream pb.Lane_RunServer) error {
			return stream.Send(&pb.LaneAnswers{Offer: &pb.LaneOffer{MaxBytes: 100}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := socketDir(t)
			asked, ended := make(chan struct{}), make(chan struct{})
			p := &otherPlugin{lane: func(stream pb.Lane_RunServer) error {
				close(asked)
				defer close(ended)
				return lane(stream)
			}}
			p.serve(t, dir)
			r := newRegistry(t, dir, nil)
			c := r.Client(plugin.Correlation, "p")
			waitLive(t, c)
			waitClosed(t, "the question", asked)
			if name != "silent" {
				waitClosed(t, "the lane's end", ended)
			}
			for range 10 {
				if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
					t.Error(err)
				}
			}
			if s := r.Snapshot()[0]; p.singles.Load() != 10 || s.Lane {
				t.Errorf("%d single calls, %+v", p.singles.Load(), s)
			}
		})
	}
}

// A plugin may answer wrongly, late, twice or not at all: each call still has
// one end, and one that was given up is told to the plugin.
func TestLaneOddAnswers(t *testing.T) {
	dir := socketDir(t)
	ended := make(chan uint64, 1)
	p := &otherPlugin{lane: func(stream pb.Lane_RunServer) error {
		if err := offer(stream); err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if err != nil {
				return nil
			}
			answers := &pb.LaneAnswers{}
			for _, id := range m.Ended {
				ended <- id
				answers.Answers = append(answers.Answers, &pb.LaneAnswer{Id: id}) // nobody waits for it
			}
			for _, c := range m.Calls {
				if len(c.Body) > 0 {
					continue // no answer
				}
				for _, id := range []uint64{c.Id + 1<<30, c.Id ^ 1, 1<<64 - 1, c.Id, c.Id} {
					answers.Answers = append(answers.Answers, &pb.LaneAnswer{Id: id, Code: uint32(id-c.Id) & 0xff, Messages: [][]byte{{8, 1}}})
				}
			}
			if err := stream.Send(answers); err != nil {
				return nil
			}
		}
	}}
	p.serve(t, dir)
	r := newRegistry(t, dir, func(o *plugin.Options) { o.CallTimeout = time.Second })
	c := r.Client(plugin.Correlation, "p")
	way{kit: true}.waitLive(t, r, c)
	for range 100 {
		if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Correlate(t.Context(), []byte{8, 1}, plugin.CallOptions{}); plugin.Class(err) != plugin.Timeout {
		t.Errorf("%v: %v", plugin.Class(err), err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the plugin does not know that the call was given up")
	}
	if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); err != nil {
		t.Error(err)
	}
	if s := r.Snapshot()[0]; !s.Lane || s.InFlight != 0 || s.LaneCalls != 102 {
		t.Errorf("%+v", s)
	}
}

// The bounds of an answer hold also where a plugin does not keep them.
func TestLaneAnswerAboveTheBounds(t *testing.T) {
	dir := socketDir(t)
	large := &pb.LaneAnswer{Messages: [][]byte{make([]byte, 3000), make([]byte, 3000)}}
	many := &pb.LaneAnswer{Messages: [][]byte{{8, 1}, {8, 1}, {8, 1}}}
	p := &otherPlugin{lane: func(stream pb.Lane_RunServer) error {
		if err := offer(stream); err != nil {
			return err
		}
		for _, answer := range []*pb.LaneAnswer{large, many} {
			m, err := stream.Recv()
			if err != nil {
				return nil
			}
			answer.Id = m.Calls[0].Id
			if err := stream.Send(&pb.LaneAnswers{Answers: []*pb.LaneAnswer{answer}}); err != nil {
				return nil
			}
		}
		<-stream.Context().Done()
		return nil
	}}
	p.serve(t, dir)
	r := newRegistry(t, dir, func(o *plugin.Options) { o.MaxReply, o.MaxAlerts = 5000, 2 })
	c := r.Client(plugin.Correlation, "p")
	way{kit: true}.waitLive(t, r, c)
	for _, want := range []string{"of this size", "more than 2 alerts"} {
		if err := c.Correlate(t.Context(), nil, plugin.CallOptions{}); plugin.Class(err) != plugin.Permanent || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", plugin.Class(err), err)
		}
	}
}

// A plugin that does not read holds up no caller beyond the call's timeout.
func TestLaneThatIsNotRead(t *testing.T) {
	dir := socketDir(t)
	p := &otherPlugin{lane: func(stream pb.Lane_RunServer) error {
		if err := offer(stream); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}}
	p.serve(t, dir)
	r := newRegistry(t, dir, func(o *plugin.Options) { o.CallTimeout = 100 * time.Millisecond })
	c := r.Client(plugin.Correlation, "p")
	way{kit: true}.waitLive(t, r, c)
	body := make([]byte, 60<<10)
	var wg sync.WaitGroup
	for range 3 * 64 {
		wg.Go(func() {
			if err := c.Correlate(context.Background(), body, plugin.CallOptions{}); plugin.Class(err) != plugin.Timeout {
				t.Errorf("%v: %v", plugin.Class(err), err)
			}
		})
	}
	wg.Wait()
	if s := r.Snapshot()[0]; s.InFlight != 0 || s.LaneCalls > 64 {
		t.Errorf("%+v", s)
	}
}

// Large items and exclusive calls go one by one, on the same connection.
func TestLaneIsNotForAll(t *testing.T) {
	c, server, r := liveClient(t, plugin.Output, plugintest.Script{Kit: true}, nil)
	for _, call := range []struct {
		size int
		o    plugin.CallOptions
		lane uint64
	}{{10, plugin.CallOptions{}, 1}, {1 << 20, plugin.CallOptions{}, 1}, {10, plugin.CallOptions{Exclusive: true}, 1}, {10, plugin.CallOptions{}, 2}} {
		if err := c.EventOutput(t.Context(), encode(t, &pb.Event{Raw: strings.Repeat("x", call.size)}), call.o); err != nil {
			t.Error(err)
		}
		if n := r.Snapshot()[0].LaneCalls; n != call.lane {
			t.Errorf("%+v: %d calls by lane", call, n)
		}
	}
	if server.Calls() != 4 {
		t.Errorf("%d calls", server.Calls())
	}
}

// A plugin killed and started again, again and again under load: every call
// ends, as Lost or Absent if not well, and the next life has a lane of its own.
func TestLaneOverManyLives(t *testing.T) {
	dir := socketDir(t)
	r := newRegistry(t, dir, nil)
	c := r.Client(plugin.Output, "p")
	stop := make(chan struct{})
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := c.EventOutput(context.Background(), nil, plugin.CallOptions{}); plugin.Class(err) {
				case plugin.OK:
					good.Add(1)
				case plugin.Absent, plugin.Lost:
					_ = c.WaitLive(t.Context())
				default:
					t.Errorf("%v: %v", plugin.Class(err), err)
				}
			}
		})
	}
	for range 5 {
		p := plugintest.Spawn(t, dir, plugin.Output, "p", plugintest.Script{Kit: true})
		way{kit: true}.waitLive(t, r, c)
		before := good.Load()
		poll(t, "calls", func() bool { return good.Load() > before+1000 })
		gone := c.Gone()
		p.Kill()
		waitClosed(t, "gone", gone)
	}
	close(stop)
	server := plugintest.Start(t, dir, plugin.Output, "p", plugintest.Script{}) // for those who wait
	wg.Wait()
	server.Stop()
	if s := r.Snapshot()[0]; s.InFlight != 0 || s.LaneCalls < 5000 {
		t.Errorf("%+v", s)
	}
}
