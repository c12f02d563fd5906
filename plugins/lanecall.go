package plugins

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

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
	context.Context // the stream's, for its values

	id     uint64
	method *laneMethod // nil: not served
	body   []byte      // of frame
	frame  *laneFrame
	index  int // in lane.calls
	limits *pb.LaneLimits

	mu    sync.Mutex
	done  chan struct{} // made when somebody asks for it
	err   error
	funcs []*func()

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

// Deadline says none: the node ends the call when it gives it up.
func (c *laneCall) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *laneCall) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *laneCall) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what package context asks a parent of another type for; without
// it, every context made from this one would cost a goroutine.
func (c *laneCall) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	entry := &f
	c.funcs = append(c.funcs, entry)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, e := range c.funcs {
			if e == entry {
				c.funcs = append(c.funcs[:i], c.funcs[i+1:]...)
				return true
			}
		}
		return false
	}
}

// end cancels the context.
func (c *laneCall) end() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = context.Canceled
	funcs := c.funcs
	c.funcs = nil
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	for _, f := range funcs {
		(*f)()
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
	case c.err != nil:
		return status.FromContextError(c.err).Err()
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
	c.end()
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
