package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

// laneOutcome is how a call on a lane ended.
type laneOutcome int

const (
	// laneRefused: the lane took the call no more. The plugin has not seen it.
	laneRefused laneOutcome = iota
	// laneAnswered: the plugin's own word.
	laneAnswered
	// laneGivenUp: the caller's context ended, or the time was over.
	laneGivenUp
	// laneEnded: the connection ended, or is at its end.
	laneEnded
	// laneBroke: the lane alone ended.
	laneBroke
)

// laneCall is one call on a lane. Those that have ended are used again.
type laneCall struct {
	id       uint64
	method   pb.LaneMethod
	body     []byte
	caller   context.Context
	deadline time.Time
	sent     bool // handed to gRPC, or about to be

	outcome  laneOutcome
	err      error // of laneEnded and laneBroke, or the plugin's
	excess   pb.LaneExcess
	messages [][]byte
	done     chan struct{} // gets one value when there is an outcome
}

// laneTable are the calls under way, found by their id: a place in the table
// and a number that no call before has had.
type laneTable struct {
	slots  []*laneCall
	free   []int
	used   int
	serial uint64
}

const slotBits = 20 // far above any plugins.in_flight

func (t *laneTable) add(c *laneCall) {
	slot := len(t.slots)
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
		t.slots[slot] = c
	} else {
		t.slots = append(t.slots, c)
	}
	t.used++
	t.serial++
	c.id = t.serial<<slotBits | uint64(slot)
}

func (t *laneTable) get(id uint64) *laneCall {
	slot := int(id & (1<<slotBits - 1))
	if slot >= len(t.slots) || t.slots[slot] == nil || t.slots[slot].id != id {
		return nil
	}
	return t.slots[slot]
}

func (t *laneTable) remove(c *laneCall) {
	slot := int(c.id & (1<<slotBits - 1))
	t.slots[slot] = nil
	t.free = append(t.free, slot)
	t.used--
}

// all yields every call. The table may lose the one that was yielded.
func (t *laneTable) all(yield func(*laneCall) bool) {
	for _, c := range t.slots {
		if c != nil && !yield(c) {
			return
		}
	}
}

// begin takes a call on its way; false if the lane takes no more.
func (ln *lane) begin(c *laneCall) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return false
	}
	ln.table.add(c)
	ln.queue = append(ln.queue, c)
	if len(ln.queue) == 1 {
		ln.wake()
	}
	if !ln.ticking {
		ln.ticking = true
		if ln.timer == nil {
			ln.timer = time.AfterFunc(watchTick, ln.look)
		} else {
			ln.timer.Reset(watchTick)
		}
	}
	return true
}

// finish wakes the caller, who owns the call from then on. ln.mu is held.
func (ln *lane) finish(c *laneCall) {
	ln.table.remove(c)
	c.done <- struct{}{}
}

// look gives up the calls that last too long or whose caller has gone.
func (ln *lane) look() {
	now := time.Now()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for c := range ln.table.all {
		if now.Before(c.deadline) && c.caller.Err() == nil {
			continue
		}
		if c.sent {
			ln.ended = append(ln.ended, c.id)
			ln.wake()
		} else {
			i := slices.Index(ln.queue, c)
			ln.queue = slices.Delete(ln.queue, i, i+1)
		}
		c.outcome = laneGivenUp
		ln.finish(c)
	}
	if ln.ticking = ln.table.used > 0; ln.ticking {
		ln.timer.Reset(watchTick)
	}
}

// answer gives one call its answer. One that was given up gets none.
func (ln *lane) answer(a *wire.LaneAnswer) {
	size := 0
	for _, m := range a.Messages {
		size += len(m)
	}
	switch {
	case a.Count > len(a.Messages):
		a.Excess, a.Messages = pb.LaneExcess_LANE_EXCESS_MESSAGES, nil
	case size > ln.life.client.opts.MaxReply:
		a.Excess, a.Messages = pb.LaneExcess_LANE_EXCESS_BYTES, nil
	}
	messages := cloneAll(a.Messages, size)
	ln.mu.Lock()
	defer ln.mu.Unlock()
	c := ln.table.get(a.ID)
	if c == nil || !c.sent {
		return
	}
	c.outcome, c.excess, c.messages = laneAnswered, a.Excess, messages
	if a.Code != 0 {
		c.err = laneError(a)
	}
	ln.finish(c)
}

// laneError is the error that a plugin answered with, with its details, as gRPC
// would have given it.
func laneError(a *wire.LaneAnswer) error {
	st := &spb.Status{Code: int32(a.Code), Message: string(a.Text)}
	for _, b := range a.Details {
		detail := new(anypb.Any)
		if proto.Unmarshal(b, detail) == nil {
			st.Details = append(st.Details, detail)
		}
	}
	return status.ErrorProto(st)
}

// cloneAll copies messages, of size bytes in all, into one piece of memory. Each has its own end, so
// that appending to one leaves the next alone.
func cloneAll(messages [][]byte, size int) [][]byte {
	if len(messages) == 0 {
		return nil
	}
	memory := make([]byte, 0, size)
	clones := make([][]byte, len(messages))
	for i, m := range messages {
		begin := len(memory)
		memory = append(memory, m...)
		clones[i] = slices.Clip(memory[begin:])
	}
	return clones
}

// byLane makes the call by the plugin's lane. ok is false where it has none, or
// the call is not one for it: it is then to be made by itself.
func (t *turn) byLane(method pb.LaneMethod, body []byte, o CallOptions) (messages [][]byte, err error, ok bool) {
	ln := t.lane(o)
	if ln == nil || len(body) > ln.maxItem {
		return nil, nil, false
	}
	client := t.client
	c, _ := client.laneCalling.Get().(*laneCall)
	if c == nil {
		c = &laneCall{done: make(chan struct{}, 1)}
	}
	c.method, c.body, c.caller = method, body, t.caller
	c.deadline = time.Now().Add(client.opts.CallTimeout)
	if ln.begin(c) {
		<-c.done
	}
	if c.outcome == laneRefused {
		// Where the life has ended as well, a call by itself says so.
		ok = false
	} else {
		ok = true
		if err = t.outcome(c); err == nil {
			messages = c.messages
		}
	}
	*c = laneCall{done: c.done}
	client.laneCalling.Put(c)
	return messages, err, ok
}

// lane is the one to be used for a call, or nil.
func (t *turn) lane(o CallOptions) *lane {
	if o.Exclusive {
		return nil
	}
	return t.life.lane.Load()
}

// outcome is the error of a call that the lane took.
func (t *turn) outcome(c *laneCall) error {
	client := t.client
	switch c.outcome {
	case laneGivenUp:
		if err := t.caller.Err(); err != nil {
			return t.count(client.classify(err, outcome{caller: err}))
		}
		return t.count(client.classify(status.FromContextError(context.DeadlineExceeded).Err(), outcome{expired: true}))
	case laneEnded:
		return t.count(client.classify(c.err, outcome{
			sent: c.sent, ended: true, broken: t.life.broken.Load(), stopped: t.life.stopped.Load(), caller: t.caller.Err(),
		}))
	case laneBroke:
		return t.count(&callError{
			failure: Busy, name: client.name, kind: client.kind, cause: c.err,
			text: fmt.Sprintf("broke off its lane while the call was under way: %v", c.err),
		})
	}
	switch {
	case c.excess == pb.LaneExcess_LANE_EXCESS_MESSAGES:
		return t.count(client.tooMany())
	case c.excess != 0 && c.method == pb.LaneMethod_ANALYZE:
		return t.count(client.tooMuch())
	case c.excess != 0:
		return t.count(client.permanent("cannot take or give a message of this size: the answer is above %d bytes", client.opts.MaxReply))
	case c.err == nil, c.method == pb.LaneMethod_ANALYZE && isEOF(c.err):
		return nil
	}
	return t.count(client.classify(c.err, outcome{sent: true, word: true}))
}
