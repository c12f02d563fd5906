package plugins

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// laneCall is one call on the lane: the context that its function gets, and
// what it has answered so far. It is not used again for another call, since a
// function may keep its context.
type laneCall struct {
	// It has the stream's values. The node ends the call when it gives it up.
	wire.CallContext

	id     uint64
	method *laneMethod // nil: not served
	body   []byte      // of frame
	frame  *laneFrame
	index  int // in lane.calls
	limits *pb.LaneLimits

	mu       sync.Mutex
	messages []byte // as wire.AppendLaneMessage makes them
	bytes    uint64
	count    uint32
	excess   pb.LaneExcess
	closed   bool // the function has returned
}

// laneFrame is a received buffer that is freed once each call in it is decoded.
type laneFrame struct {
	buffer mem.Buffer
	calls  atomic.Int32
}

func (f *laneFrame) free() {
	if f.calls.Add(-1) == 0 {
		f.buffer.Free()
	}
}

var (
	errTooMuch = status.Error(codes.ResourceExhausted, "this answer is above what the node takes for one item")
	errLate    = errors.New("the call has ended: answer before the function returns")
)

// send adds a message to the answer.
func (c *laneCall) send(m proto.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errLate
	case c.Err() != nil:
		return status.FromContextError(c.Err()).Err()
	case c.excess != 0:
		return errTooMuch
	}
	before := len(c.messages)
	messages, err := wire.AppendLaneMessage(c.messages, m)
	if err != nil {
		return status.Errorf(codes.Internal, "encode answer: %v", err)
	}
	c.messages = messages
	n := len(messages) - before
	if n <= 2 {
		// It says nothing, and counts as nothing.
		return nil
	}
	c.count++
	c.bytes += uint64(n)
	switch {
	case c.limits.MaxMessages != 0 && c.count > c.limits.MaxMessages:
		c.excess = pb.LaneExcess_LANE_EXCESS_MESSAGES
	case c.bytes > c.limits.MaxBytes:
		c.excess = pb.LaneExcess_LANE_EXCESS_BYTES
	default:
		return nil
	}
	c.messages = c.messages[:0]
	return errTooMuch
}

// close takes the answer and ends the context; what is sent later is refused.
func (c *laneCall) close() (messages []byte, excess pb.LaneExcess) {
	c.mu.Lock()
	c.closed = true
	messages, c.messages = c.messages, nil
	excess = c.excess
	c.mu.Unlock()
	c.End(context.Canceled)
	return messages, excess
}

// laneStream is a call as an analysis function sees it. It has no headers.
type laneStream struct{ c *laneCall }

func (s laneStream) Send(a *Alert) error          { return s.c.send(a) }
func (s laneStream) Context() context.Context     { return s.c }
func (s laneStream) SetHeader(metadata.MD) error  { return nil }
func (s laneStream) SendHeader(metadata.MD) error { return nil }
func (s laneStream) SetTrailer(metadata.MD)       {}

func (s laneStream) SendMsg(m any) error {
	a, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "cannot answer with a %T", m)
	}
	return s.c.send(a)
}

func (s laneStream) RecvMsg(any) error {
	return status.Error(codes.Internal, "an event is all that comes with a call")
}
