package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	// maxLaneItem is the largest item that goes by lane: a larger one gains
	// nothing, and would wait for others or have them wait.
	maxLaneItem = 64 << 10
	// maxLaneFrame bounds one message to the plugin, and so how long its first
	// item waits for the last.
	maxLaneFrame = 256 << 10
	// minLaneFrame is the least that a plugin must take for its lane to be used.
	minLaneFrame = 4 << 10
	// laneTimeout is for a plugin's answer to the question whether it has one.
	laneTimeout = 5 * time.Second
	// laneSlack is what a message of answers has besides one as large as can be.
	laneSlack = 2 << 20
)

// lane is the stream that carries calls of a life, many in one message, to a
// plugin that serves it. Calls that are made at about the same time travel
// together, and each has its own end.
//
// One goroutine writes and one reads. A frame is whatever calls are there when
// the last one is written: nothing waits for company.
type lane struct {
	life     *life
	stream   grpc.ClientStream
	cancel   context.CancelFunc
	maxItem  int
	maxFrame int

	kick chan struct{} // there is something to write; closed when no more will be

	mu      sync.Mutex
	table   laneTable   // of calls that have no outcome yet
	queue   []*laneCall // of those, what is not written
	ended   []uint64    // calls that were written and given up since
	closed  bool        // no more calls are taken
	timer   *time.Timer
	ticking bool
}

// openLane asks the plugin for a lane, and serves it until it ends. Most plugins
// have none, and answer that they do not know the service.
func (l *life) openLane() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	patience := time.AfterFunc(laneTimeout, cancel)
	defer patience.Stop()
	o := l.client.opts
	stream, err := l.cc.NewStream(ctx, &pb.Lane_ServiceDesc.Streams[0], pb.Lane_Run_FullMethodName,
		grpc.StaticMethod(), grpc.ForceCodecV2(wire.Codec()), grpc.MaxCallRecvMsgSize(o.MaxReply+laneSlack))
	if err != nil {
		return
	}
	// What goes wrong here is what Recv says.
	_ = stream.SendMsg(&pb.LaneCalls{Limits: &pb.LaneLimits{MaxBytes: uint64(o.MaxReply), MaxMessages: uint32(o.MaxAlerts)}})
	var first pb.LaneAnswers
	if err := stream.RecvMsg(&first); err != nil || first.GetOffer().GetMaxBytes() < minLaneFrame || !patience.Stop() {
		return
	}
	frame := int(min(first.GetOffer().GetMaxBytes(), maxLaneFrame))
	ln := &lane{
		life: l, stream: stream, cancel: cancel,
		maxFrame: frame, maxItem: min(frame/4, maxLaneItem, o.MaxMessage),
		kick: make(chan struct{}, 1),
	}
	var writer sync.WaitGroup
	writer.Go(ln.write)
	defer writer.Wait()
	defer cancel()
	l.lane.Store(ln)
	l.client.registry.changes.notify()
	if l.dead.Load() {
		ln.drain()
	}
	ln.read()
}

// drain takes no more calls, writes those it has, and closes this half of the
// stream: the plugin has said that it stops, and waits for that.
func (ln *lane) drain() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.closeLocked()
}

func (ln *lane) closeLocked() {
	if !ln.closed {
		ln.closed = true
		close(ln.kick)
	}
}

// wake has the writer look. ln.mu is held.
func (ln *lane) wake() {
	if ln.closed {
		return
	}
	select {
	case ln.kick <- struct{}{}:
	default:
	}
}

func (ln *lane) write() {
	var calls []wire.LaneCall
	all := func() {
		for more := true; more; {
			// Who is about to call goes first: under load that fills the frame,
			// and without it costs nothing.
			runtime.Gosched()
			calls, more = ln.writeFrame(calls)
		}
	}
	for range ln.kick {
		all()
	}
	all()
	// It fails only where the stream has ended.
	_ = ln.stream.CloseSend()
}

// writeFrame writes one frame, and says whether there may be more to write. It
// keeps calls, which it is given back the next time, from being made anew.
func (ln *lane) writeFrame(calls []wire.LaneCall) ([]wire.LaneCall, bool) {
	calls = calls[:0]
	ln.mu.Lock()
	ended := ln.ended
	ln.ended = nil
	size := len(ended) * wire.LaneEndedSize
	for _, c := range ln.queue {
		n := len(c.body) + wire.LaneCallOverhead
		if len(calls) > 0 && size+n > ln.maxFrame {
			break
		}
		size += n
		c.sent = true
		// The call may end, and be another, while its body is copied.
		calls = append(calls, wire.LaneCall{ID: c.id, Method: c.method, Body: c.body})
	}
	ln.queue = dropFirst(ln.queue, len(calls))
	ln.mu.Unlock()
	if len(calls)+len(ended) == 0 {
		return calls, false
	}
	buffer := wire.NewBuffer(size)
	for _, c := range calls {
		*buffer = wire.AppendLaneCall(*buffer, c.ID, c.Method, c.Body)
	}
	for _, id := range ended {
		*buffer = wire.AppendLaneEnded(*buffer, id)
	}
	if len(calls) > 0 {
		ln.life.client.laneCalls.Add(uint64(len(calls)))
		ln.life.client.laneFrames.Add(1)
	}
	clear(calls)
	if ln.stream.SendMsg(wire.Finish(buffer)) != nil {
		// The stream has ended, as the reader will hear, with the reason.
		return calls, false
	}
	return calls, true
}

// dropFirst removes the first n of a queue and keeps its memory.
func dropFirst(queue []*laneCall, n int) []*laneCall {
	left := copy(queue, queue[n:])
	clear(queue[left:])
	return queue[:left]
}

// read gives calls their answers until the stream ends.
func (ln *lane) read() {
	keep := ln.life.client.opts.MaxAlerts
	for {
		var p wire.Pooled
		err := ln.stream.RecvMsg(&p)
		if err == nil {
			err = wire.ScanLaneAnswers(p.Buffer.ReadOnlyData(), keep, ln.answer)
			p.Buffer.Free()
		}
		if err != nil {
			ln.fail(err)
			return
		}
	}
}

// fail ends the lane, and every call on it that has no answer.
func (ln *lane) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.Unavailable, "the stream has ended")
	}
	l := ln.life
	alone := !l.dead.Load()
	if !alone && status.Code(err) != codes.Canceled {
		// Whatever gRPC calls the end of a connection.
		err = status.Error(codes.Unavailable, err.Error())
	}
	if alone {
		l.client.registry.log.Warn("batch lane broke, calling one by one", "plugin", l.client.name, "kind", string(l.client.kind), "error", err)
	}
	l.lane.Store(nil)
	l.client.registry.changes.notify()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.closeLocked()
	ln.queue = nil
	if ln.timer != nil {
		ln.timer.Stop()
	}
	for c := range ln.table.all {
		switch {
		case alone && !c.sent:
			c.outcome = laneRefused
		case alone:
			c.outcome, c.err = laneBroke, fmt.Errorf("batch lane: %w", err)
		default:
			c.outcome, c.err = laneEnded, err
		}
		ln.finish(c)
	}
}
