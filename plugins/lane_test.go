package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// testLane is a lane as a client of another make would use it: with nothing but
// the generated code.
type testLane struct {
	t      *testing.T
	stream pb.Lane_RunClient
	offer  *pb.LaneOffer
	got    map[uint64]*pb.LaneAnswer
}

func openLane(t *testing.T, dir, socket string, limits *pb.LaneLimits) *testLane {
	t.Helper()
	conn := enginetest.Dial(t, dir, socket)
	stream, err := pb.NewLaneClient(conn).Run(t.Context(), grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	l := &testLane{t: t, stream: stream, got: map[uint64]*pb.LaneAnswer{}}
	l.send(&pb.LaneCalls{Limits: limits})
	first, err := stream.Recv()
	if err != nil || first.GetOffer() == nil {
		t.Fatalf("offer: %v, %v", first, err)
	}
	l.offer = first.Offer
	return l
}

func (l *testLane) send(m *pb.LaneCalls) {
	l.t.Helper()
	if err := l.stream.Send(m); err != nil {
		l.t.Fatal(err)
	}
}

func (l *testLane) call(id uint64, method pb.LaneMethod, m proto.Message) *pb.LaneCall {
	l.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		l.t.Fatal(err)
	}
	return &pb.LaneCall{Id: id, Method: method, Body: body}
}

// await reads until the answer has come.
func (l *testLane) await(id uint64) *pb.LaneAnswer {
	l.t.Helper()
	for l.got[id] == nil {
		m, err := l.stream.Recv()
		if err != nil {
			l.t.Fatalf("answer %d: %v", id, err)
		}
		for _, a := range m.Answers {
			if l.got[a.Id] != nil {
				l.t.Errorf("answered twice: %d", a.Id)
			}
			l.got[a.Id] = a
		}
	}
	return l.got[id]
}

func TestLaneAnswersEachItem(t *testing.T) {
	dir := shortdir.New(t)
	late := make(chan func(*Alert) error, 1)
	serve(t, Options{
		Name: "p", Dir: dir, MaxMessage: 1 << 20,
		Analyze: func(ctx context.Context, e *Event, emit func(*Alert) error) error {
			switch e.Raw {
			case "panic":
				panic("oh")
			case "exit":
				runtime.Goexit()
			case "late":
				late <- emit
			case "later":
				return status.Error(codes.Unavailable, "later")
			case "eof":
				_ = emit(&Alert{Id: "eof"})
				return io.EOF
			case "plain":
				return errors.New("plain \xff")
			case "many":
				for i := range 5 {
					if err := emit(&Alert{Id: fmt.Sprint(i)}); err != nil {
						return err
					}
				}
			case "large":
				return emit(&Alert{Description: strings.Repeat("x", 3000)})
			case "bad":
				return emit(&Alert{Id: "\xff"})
			case "lost":
				_ = emit(&Alert{Id: "a"})
				return errors.New("after an alert")
			case "two":
				_ = emit(&Alert{Id: "1"})
				_ = emit(&Alert{})
				return emit(&Alert{Id: "2"})
			}
			return nil
		},
	})
	l := openLane(t, dir, "p_analysis.sock", &pb.LaneLimits{MaxBytes: 2000, MaxMessages: 4})
	if l.offer.MaxBytes != 1<<20 {
		t.Errorf("offer %v", l.offer)
	}
	events := []string{"", "panic", "exit", "late", "later", "eof", "plain", "many", "large", "bad", "lost", "two"}
	frame := &pb.LaneCalls{}
	for i, raw := range events {
		frame.Calls = append(frame.Calls, l.call(uint64(i+1), pb.LaneMethod_ANALYZE, &Event{Raw: raw}))
	}
	frame.Calls = append(frame.Calls,
		&pb.LaneCall{Id: 101, Method: pb.LaneMethod_ANALYZE, Body: []byte{0xff}},
		&pb.LaneCall{Id: 102, Method: pb.LaneMethod_CORRELATE},
		&pb.LaneCall{Id: 103, Method: 99},
		&pb.LaneCall{Id: 104, Method: -1},
	)
	l.send(frame)
	for i, want := range []struct {
		code     codes.Code
		text     string
		messages int
		excess   pb.LaneExcess
	}{
		{},
		{code: codes.Internal, text: "plugin panicked: oh"},
		{code: codes.Internal, text: "the function ended its goroutine"},
		{},
		{code: codes.Unavailable, text: "later"},
		{messages: 1},
		{code: codes.Unknown, text: "plain \uFFFD"},
		{excess: pb.LaneExcess_LANE_EXCESS_MESSAGES},
		{excess: pb.LaneExcess_LANE_EXCESS_BYTES},
		{code: codes.Internal, text: "encode answer: string field contains invalid UTF-8"},
		{code: codes.Unknown, text: "after an alert"},
		{messages: 3},
	} {
		a := l.await(uint64(i + 1))
		if codes.Code(a.Code) != want.code || a.Text != want.text || len(a.Messages) != want.messages || a.Excess != want.excess {
			t.Errorf("%q: %v", events[i], a)
		}
	}
	for id, code := range map[uint64]codes.Code{
		101: codes.Internal, 102: codes.Unimplemented, 103: codes.Unimplemented, 104: codes.Unimplemented,
	} {
		if a := l.await(id); codes.Code(a.Code) != code {
			t.Errorf("%d: %v", id, a)
		}
	}
	if err := (<-late)(&Alert{Id: "late"}); !errors.Is(err, errLate) {
		t.Errorf("an alert after the end: %v", err)
	}
	var first Alert
	if err := proto.Unmarshal(l.got[12].Messages[0], &first); err != nil || first.Id != "1" {
		t.Errorf("alert %v, %v", &first, err)
	}
}

func TestLaneOfEveryKind(t *testing.T) {
	dir := shortdir.New(t)
	var seen sync.Map
	serve(t, Options{
		Name: "p", Dir: dir,
		Parse: func(_ context.Context, tr *Transform) (*Draft, error) {
			if tr.Draft.Log == "nothing" {
				return nil, nil
			}
			tr.Draft.Log += "!"
			return tr.Draft, nil
		},
		Correlate:   func(_ context.Context, a *Alert) error { seen.Store("alert "+a.Id, true); return nil },
		Notify:      func(_ context.Context, m *Message) error { seen.Store("message "+m.Id, true); return nil },
		EventOutput: func(_ context.Context, e *Event) error { seen.Store("event "+e.Id, true); return nil },
	})
	limits := &pb.LaneLimits{}
	l := openLane(t, dir, "p_parsing.sock", limits)
	l.send(&pb.LaneCalls{Calls: []*pb.LaneCall{
		l.call(1, pb.LaneMethod_PARSE_LOG, &Transform{Draft: &Draft{Log: "a"}}),
		l.call(2, pb.LaneMethod_PARSE_LOG, &Transform{Draft: &Draft{Log: "nothing"}}),
	}})
	var d Draft
	if a := l.await(1); len(a.Messages) != 1 || proto.Unmarshal(a.Messages[0], &d) != nil || d.Log != "a!" {
		t.Errorf("draft: %v", a)
	}
	if a := l.await(2); codes.Code(a.Code) != codes.Internal {
		t.Errorf("no draft: %v", a)
	}
	for socket, c := range map[string]*pb.LaneCall{
		"p_correlation.sock":  l.call(1, pb.LaneMethod_CORRELATE, &Alert{Id: "a"}),
		"p_notification.sock": l.call(1, pb.LaneMethod_NOTIFY, &Message{Id: "m"}),
		"p_output.sock":       l.call(1, pb.LaneMethod_EVENT_OUTPUT, &Event{Id: "e"}),
	} {
		l := openLane(t, dir, socket, limits)
		l.send(&pb.LaneCalls{Calls: []*pb.LaneCall{c}})
		if a := l.await(1); a.Code != 0 || len(a.Messages) != 0 {
			t.Errorf("%s: %v", socket, a)
		}
		if socket == "p_output.sock" {
			l.send(&pb.LaneCalls{Calls: []*pb.LaneCall{l.call(2, pb.LaneMethod_ALERT_OUTPUT, &Alert{})}})
			if a := l.await(2); codes.Code(a.Code) != codes.Unimplemented {
				t.Errorf("alert output: %v", a)
			}
		}
	}
	for _, what := range []string{"alert a", "message m", "event e"} {
		if _, ok := seen.Load(what); !ok {
			t.Errorf("%s was not seen", what)
		}
	}
}

// Slow functions run side by side, as many as there are calls, and a call that
// was given up is ended, whether its function runs or not.
func TestLaneSlowFunctions(t *testing.T) {
	dir := shortdir.New(t)
	const n = 200
	var running atomic.Int64
	all, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	serve(t, Options{Name: "p", Dir: dir, Correlate: func(ctx context.Context, a *Alert) error {
		if running.Add(1) == n {
			once.Do(func() { close(all) })
		}
		if a.Id == "hang" {
			child, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			<-child.Done()
			return child.Err()
		}
		select {
		case <-leave:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	l := openLane(t, dir, "p_correlation.sock", &pb.LaneLimits{})
	frame := &pb.LaneCalls{}
	for id := range uint64(n) {
		a := &Alert{}
		if id%2 == 0 {
			a.Id = "hang"
		}
		frame.Calls = append(frame.Calls, l.call(id+1, pb.LaneMethod_CORRELATE, a))
	}
	l.send(frame)
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		t.Fatalf("only %d run", running.Load())
	}
	frame = &pb.LaneCalls{}
	for id := range uint64(n) {
		if id%2 == 0 {
			frame.Ended = append(frame.Ended, id+1)
		}
	}
	l.send(frame)
	for id := range uint64(n) {
		if id%2 == 0 {
			if a := l.await(id + 1); codes.Code(a.Code) != codes.Canceled {
				t.Fatalf("a call that was given up: %v", a)
			}
		}
	}
	close(leave)
	for id := range uint64(n) {
		if id%2 == 1 {
			if a := l.await(id + 1); a.Code != 0 {
				t.Fatalf("a slow call: %v", a)
			}
		}
	}
}

// A plugin that stops answers all that it was sent, also what is sent before the
// node has closed its half.
func TestLaneStopsWhenAllIsAnswered(t *testing.T) {
	dir := shortdir.New(t)
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	stop := serve(t, Options{Name: "p", Dir: dir, Correlate: func(context.Context, *Alert) error {
		entered <- struct{}{}
		<-leave
		return nil
	}})
	l := openLane(t, dir, "p_correlation.sock", &pb.LaneLimits{})
	l.send(&pb.LaneCalls{Calls: []*pb.LaneCall{l.call(1, pb.LaneMethod_CORRELATE, &Alert{})}})
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	l.send(&pb.LaneCalls{Calls: []*pb.LaneCall{l.call(2, pb.LaneMethod_CORRELATE, &Alert{})}})
	<-entered
	if err := l.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	close(leave)
	for id := range uint64(2) {
		if a := l.await(id + 1); a.Code != 0 {
			t.Errorf("%v", a)
		}
	}
	if _, err := l.stream.Recv(); err != io.EOF {
		t.Errorf("the end of the lane: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A node that goes away ends what it had under way.
func TestLaneEndsWithTheNode(t *testing.T) {
	dir := shortdir.New(t)
	entered, left := make(chan struct{}, 2), make(chan error, 2)
	serve(t, Options{Name: "p", Dir: dir, Correlate: func(ctx context.Context, _ *Alert) error {
		entered <- struct{}{}
		<-ctx.Done()
		left <- ctx.Err()
		return ctx.Err()
	}})
	conn := enginetest.Dial(t, dir, "p_correlation.sock")
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := pb.NewLaneClient(conn).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.LaneCalls{
		{Limits: &pb.LaneLimits{}},
		{Calls: []*pb.LaneCall{{Id: 1, Method: pb.LaneMethod_CORRELATE}, {Id: 2, Method: pb.LaneMethod_CORRELATE}}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	<-entered
	cancel()
	for range 2 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestLaneRefuses(t *testing.T) {
	dir := shortdir.New(t)
	serve(t, Options{Name: "p", Dir: dir, Correlate: func(context.Context, *Alert) error { return nil }})
	conn := enginetest.Dial(t, dir, "p_correlation.sock")
	for name, frames := range map[string][]*pb.LaneCalls{
		"no limits": {{}},
		"malformed": {{Limits: &pb.LaneLimits{}}, malformedCalls()},
	} {
		stream, err := pb.NewLaneClient(conn).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range frames {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// malformedCalls has a field of calls that is no LaneCall.
func malformedCalls() *pb.LaneCalls {
	m := &pb.LaneCalls{}
	m.ProtoReflect().SetUnknown([]byte{2<<3 | 2, 1, 0xff})
	return m
}
