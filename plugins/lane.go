package plugins

import (
	"cmp"
	"context"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// maxLaneQueue is how many calls may wait for a worker before no more are
	// read. A node has far fewer under way.
	maxLaneQueue = 4096
	// maxLaneWorkers is how many functions may run at once.
	maxLaneWorkers = 4096
	// keptLaneWorkers are those that wait for work; more end.
	keptLaneWorkers = 16
	// maxLaneOut is how much may wait to be sent before workers wait.
	maxLaneOut = 1 << 20
	// maxLaneText bounds the text of an error, and its details.
	maxLaneText = 8 << 10
)

// laneServer serves the batch lane beside a contract's service.
type laneServer struct {
	service    service
	maxReceive int
	log        hclog.Logger
}

// Run serves one lane until the node closes its half and all calls are
// answered, or the connection ends.
func (s laneServer) Run(stream pb.Lane_RunServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	limits := first.GetLimits()
	if limits == nil {
		return status.Error(codes.InvalidArgument, "the first message of a lane has its limits")
	}
	limits.MaxBytes = min(cmp.Or(limits.MaxBytes, defaultMaxMessage), defaultMaxMessage)
	offer := &pb.LaneAnswers{Offer: &pb.LaneOffer{MaxBytes: uint64(s.maxReceive)}}
	if err := stream.Send(offer); err != nil {
		return err
	}
	l := &lane{
		stream: stream, log: s.log, limits: limits,
		kick: make(chan struct{}, 1), drained: make(chan struct{}),
	}
	for m := range pb.LaneMethod_name {
		l.methods[m] = s.service.lane(pb.LaneMethod(m))
	}
	l.rest.L, l.room.L, l.space.L = &l.mu, &l.mu, &l.mu
	return l.serve()
}

// lane is one stream of calls. The goroutine of the stream reads, another one
// writes, and workers call the functions.
type lane struct {
	stream  grpc.ServerStream
	log     hclog.Logger
	limits  *pb.LaneLimits
	methods [pb.LaneMethod_ALERT_OUTPUT + 1]*laneMethod

	kick    chan struct{} // out is no longer nil
	drained chan struct{} // closed once ending and all is answered

	mu     sync.Mutex
	calls  []*laneCall // all that are not answered, in no order
	queue  []*laneCall // of calls, those that no worker has; from head on
	head   int
	out    *[]byte // answers that wait to be sent
	ending bool    // no more calls come
	over   bool    // nobody wants answers any more

	workers int
	idle    int
	waking  bool
	rest    sync.Cond // where idle workers wait
	room    sync.Cond // where workers wait that have too much to send
	space   sync.Cond // where the reader waits while too much is queued
}

func (l *lane) serve() error {
	var writer sync.WaitGroup
	writer.Go(l.write)
	// So that nobody goes on waiting for somebody who waits for the node.
	stop := context.AfterFunc(l.stream.Context(), l.abandon)
	defer stop()
	err := l.read()
	if err == io.EOF {
		// All that came is worked on, and answered.
		l.mu.Lock()
		l.ending = true
		l.settle()
		l.mu.Unlock()
		select {
		case <-l.drained:
			err = nil
		case <-l.stream.Context().Done():
			err = l.stream.Context().Err()
		}
	}
	l.end(err != nil)
	writer.Wait()
	return err
}

// end lets workers and writer end. broken: the node is gone, and has given up
// what was under way.
func (l *lane) end(broken bool) {
	l.mu.Lock()
	l.ending, l.over = true, true
	calls := l.calls
	if broken {
		l.calls = nil
		for _, c := range l.queue[l.head:] {
			c.frame.free()
		}
		l.queue, l.head = nil, 0
	}
	close(l.kick)
	l.rest.Broadcast()
	l.room.Broadcast()
	l.mu.Unlock()
	if broken {
		for _, c := range calls {
			c.End(context.Canceled)
		}
	}
}

// abandon has nobody wait for room: nobody wants the answers.
func (l *lane) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.room.Broadcast()
	l.space.Broadcast()
}

// read hands calls to the workers until the stream ends; io.EOF is a good end.
func (l *lane) read() error {
	var calls []*laneCall
	var ended []uint64
	for {
		var p wire.Pooled
		if err := l.stream.RecvMsg(&p); err != nil {
			return err
		}
		calls, ended = calls[:0], ended[:0]
		frame := &laneFrame{buffer: p.Buffer}
		err := wire.ScanLaneCalls(p.Buffer.ReadOnlyData(), func(c wire.LaneCall) {
			call := &laneCall{CallContext: wire.CallContext{Context: l.stream.Context()}, id: c.ID, body: c.Body, frame: frame, limits: l.limits}
			if m := int(c.Method); m >= 0 && m < len(l.methods) {
				call.method = l.methods[m]
			}
			calls = append(calls, call)
		}, func(id uint64) { ended = append(ended, id) })
		if err != nil {
			p.Buffer.Free()
			return status.Errorf(codes.InvalidArgument, "read calls of the lane: %v", err)
		}
		frame.calls.Store(int32(len(calls)) + 1)
		l.push(calls)
		frame.free()
		l.giveUp(ended)
		clear(calls)
	}
}

// giveUp ends the contexts of calls.
func (l *lane) giveUp(ids []uint64) {
	for _, id := range ids {
		l.mu.Lock()
		var found *laneCall
		for _, c := range l.calls {
			if c.id == id {
				found = c
				break
			}
		}
		l.mu.Unlock()
		if found != nil {
			found.End(context.Canceled)
		}
	}
}

// write sends answers, as many at once as there are.
func (l *lane) write() {
	for range l.kick {
		// Who has more to answer goes first: under load that makes messages
		// larger, and without it costs nothing.
		runtime.Gosched()
		l.mu.Lock()
		out := l.out
		l.out = nil
		l.room.Broadcast()
		l.mu.Unlock()
		if out == nil {
			continue
		}
		if err := l.stream.SendMsg(wire.Finish(out)); err != nil {
			// The reader hears of it too, and ends the lane.
			l.abandon()
		}
	}
}

// answer queues the answer to c, which is done then. l.mu is held, and given up
// while too much waits to be sent.
func (l *lane) answer(c *laneCall, code codes.Code, text string, messages []byte, excess pb.LaneExcess) {
	size := wire.LaneAnswerSize(text, messages)
	for !l.over && l.out != nil && len(*l.out)+size > maxLaneOut {
		l.room.Wait()
	}
	if !l.over {
		first := l.out == nil
		if first {
			l.out = wire.NewBuffer(max(size, 4<<10))
		} else {
			l.out = wire.Grow(l.out, size)
		}
		*l.out = wire.AppendLaneAnswer(*l.out, c.id, uint32(code), text, excess, messages)
		if first {
			select {
			case l.kick <- struct{}{}:
			default:
			}
		}
	}
	l.remove(c)
}

// remove takes c off the calls that are not answered. l.mu is held.
func (l *lane) remove(c *laneCall) {
	if c.index < len(l.calls) && l.calls[c.index] == c {
		last := len(l.calls) - 1
		l.calls[c.index] = l.calls[last]
		l.calls[c.index].index = c.index
		l.calls[last] = nil
		l.calls = l.calls[:last]
	}
	l.settle()
}

// settle says when all is answered. l.mu is held.
func (l *lane) settle() {
	if l.ending && !l.over && len(l.calls) == 0 {
		select {
		case <-l.drained:
		default:
			close(l.drained)
		}
	}
}

// laneStatus is an error as gRPC would send it, with its details in the form of
// AppendLaneDetail at the end of b.
func laneStatus(err error, b []byte) (codes.Code, string, []byte) {
	if err == nil {
		return codes.OK, "", b
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	text := st.Message()
	if len(text) > maxLaneText {
		text = text[:maxLaneText]
	}
	begin := len(b)
	for _, d := range st.Proto().GetDetails()[:min(len(st.Proto().GetDetails()), wire.MaxLaneDetails)] {
		if detail, err := proto.Marshal(d); err == nil && len(b)-begin+len(detail) <= maxLaneText {
			b = wire.AppendLaneDetail(b, detail)
		}
	}
	return st.Code(), strings.ToValidUTF8(text, "\uFFFD"), b
}
