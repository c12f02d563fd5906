package plugin

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

// CallOptions are what a caller may ask of one call.
type CallOptions struct {
	// Exclusive: no other call of this node on the plugin is in flight while
	// this one is. What kills its plugin then is the item of this call.
	Exclusive bool
}

// ParseLog has a parsing plugin work on a draft. A plugin that answers without a
// message gives an empty draft.
func (c *Client) ParseLog(ctx context.Context, tr *pb.Transform, o CallOptions) (*pb.Draft, error) {
	var t turn
	if err := c.enter(ctx, o, &t); err != nil {
		return nil, err
	}
	defer t.leave()
	draft := new(pb.Draft)
	if done, err := t.parseByLane(tr, draft, o); done {
		if err != nil {
			return nil, err
		}
		return draft, nil
	}
	if err := t.unary(pb.Parsing_ParseLog_FullMethodName, tr, draft); err != nil {
		return nil, err
	}
	return draft, nil
}

// parseByLane is ParseLog by the lane. A draft that it cannot be used for is
// left to a call by itself.
func (t *turn) parseByLane(tr *pb.Transform, draft *pb.Draft, o CallOptions) (done bool, err error) {
	if ln := t.lane(o); ln == nil || proto.Size(tr) > ln.maxItem {
		return false, nil
	}
	body, err := proto.Marshal(tr)
	if err != nil {
		return false, nil
	}
	messages, err, done := t.byLane(pb.LaneMethod_PARSE_LOG, body, o)
	if err != nil || !done || len(messages) == 0 {
		return done, err
	}
	if err := proto.Unmarshal(messages[0], draft); err != nil {
		return true, t.count(t.client.classify(
			status.Errorf(codes.Internal, "a draft that cannot be read: %v", err), outcome{sent: true, word: true}))
	}
	return true, nil
}

// Correlate hands an Alert in wire form to a correlation plugin. alert must not
// change, not even after the call has returned.
func (c *Client) Correlate(ctx context.Context, alert []byte, o CallOptions) error {
	return c.send(ctx, pb.LaneMethod_CORRELATE, pb.Correlation_Correlate_FullMethodName, alert, o)
}

// Notify hands a Message in wire form to a notification plugin. msg must not
// change, not even after the call has returned.
func (c *Client) Notify(ctx context.Context, msg []byte, o CallOptions) error {
	return c.send(ctx, pb.LaneMethod_NOTIFY, pb.Notification_Notify_FullMethodName, msg, o)
}

// EventOutput hands an Event in wire form to an output plugin. event must not
// change, not even after the call has returned.
func (c *Client) EventOutput(ctx context.Context, event []byte, o CallOptions) error {
	return c.send(ctx, pb.LaneMethod_EVENT_OUTPUT, pb.Output_EventOutput_FullMethodName, event, o)
}

// AlertOutput hands an Alert in wire form to an output plugin. alert must not
// change, not even after the call has returned.
func (c *Client) AlertOutput(ctx context.Context, alert []byte, o CallOptions) error {
	return c.send(ctx, pb.LaneMethod_ALERT_OUTPUT, pb.Output_AlertOutput_FullMethodName, alert, o)
}

// Analyze hands an Event in wire form to an analysis plugin and returns the
// Alerts it answers, in wire form; empty ones say nothing and are left out. All
// or none: an error comes without alerts. event must not change, not even after
// the call has returned.
func (c *Client) Analyze(ctx context.Context, event []byte, o CallOptions) ([][]byte, error) {
	if err := c.checkSize(event); err != nil {
		return nil, err
	}
	var t turn
	if err := c.enter(ctx, o, &t); err != nil {
		return nil, err
	}
	defer t.leave()
	if alerts, err, ok := t.byLane(pb.LaneMethod_ANALYZE, event, o); ok {
		return alerts, err
	}
	s := t.begin()
	s.req.Bytes = event
	alerts, err := t.stream(s)
	if err != nil {
		err = t.fail(err, s)
	}
	s.free()
	return alerts, err
}

// scratch is what a call needs besides its bytes, kept for the next one. opts
// point at its own fields; that they are whole, with no defaults of the
// connection to add, spares a copy.
type scratch struct {
	client *Client
	peer   peer.Peer
	req    wire.Frame
	resp   wire.Frame
	opts   []grpc.CallOption
}

func (c *Client) newScratch() *scratch {
	if s, ok := c.scratches.Get().(*scratch); ok {
		return s
	}
	s := &scratch{client: c}
	s.opts = []grpc.CallOption{
		grpc.StaticMethod(),
		grpc.ForceCodecV2(wire.Codec()),
		grpc.MaxCallSendMsgSize(c.opts.MaxMessage),
		grpc.MaxCallRecvMsgSize(c.opts.MaxReply),
		// Filled in once a stream was opened on the connection.
		grpc.Peer(&s.peer),
	}
	return s
}

func (s *scratch) free() {
	s.peer, s.req, s.resp = peer.Peer{}, wire.Frame{}, wire.Frame{}
	s.client.scratches.Put(s)
}

func (c *Client) checkSize(body []byte) error {
	if len(body) > c.opts.MaxMessage {
		return c.permanent("takes at most %d bytes, this item has %d (setting plugins.max_message)",
			c.opts.MaxMessage, len(body))
	}
	return nil
}

// send is a call whose answer says nothing.
func (c *Client) send(ctx context.Context, lane pb.LaneMethod, method string, body []byte, o CallOptions) error {
	if err := c.checkSize(body); err != nil {
		return err
	}
	var t turn
	if err := c.enter(ctx, o, &t); err != nil {
		return err
	}
	defer t.leave()
	if _, err, ok := t.byLane(lane, body, o); ok {
		return err
	}
	s := t.begin()
	s.req.Bytes = body
	return t.invoke(s, method, &s.req, &s.resp)
}

func (t *turn) unary(method string, req, resp any) error {
	return t.invoke(t.begin(), method, req, resp)
}

func (t *turn) invoke(s *scratch, method string, req, resp any) error {
	err := t.life.cc.Invoke(t.ctx, method, req, resp, s.opts...)
	if err != nil && !isNoReply(err) {
		err = t.fail(err, s)
	} else {
		err = nil
	}
	s.free()
	return err
}

// turn is one call's place among those in flight.
type turn struct {
	client *Client
	life   *life
	weight int64
	caller context.Context
	ctx    *callContext // of a call by itself
}

// enter waits for a slot, and fills t if the plugin is there to be called.
func (c *Client) enter(ctx context.Context, o CallOptions, t *turn) error {
	if !c.Live() {
		return c.absent()
	}
	t.client, t.caller, t.weight = c, ctx, 1
	if o.Exclusive {
		t.weight = int64(c.opts.InFlight)
	}
	if err := c.slots.Acquire(ctx, t.weight); err != nil {
		return &callError{
			failure: Ended, name: c.name, kind: c.kind,
			text: "call given up before it began: " + err.Error(), cause: err,
		}
	}
	l := c.life.Load()
	if l == nil || !l.hold() {
		c.slots.Release(t.weight)
		return c.absent()
	}
	t.life = l
	c.inFlight.Add(1)
	return nil
}

// begin is what a call by itself needs.
func (t *turn) begin() *scratch {
	t.ctx = t.client.watch.add(t.caller, time.Now().Add(t.client.opts.CallTimeout))
	return t.client.newScratch()
}

func (t *turn) leave() {
	if t.ctx != nil {
		t.client.watch.remove(t.ctx)
	}
	t.life.release()
	t.client.inFlight.Add(-1)
	t.client.calls.Add(1)
	t.client.slots.Release(t.weight)
}

// fail classifies the error of a call that was begun, and counts it.
func (t *turn) fail(err error, s *scratch) error {
	var own *callError
	if !errors.As(err, &own) {
		err = t.client.classify(err, outcome{
			caller:  t.caller.Err(),
			sent:    s.peer.Addr != nil,
			ended:   t.life.dead.Load(),
			broken:  t.life.broken.Load(),
			stopped: t.life.stopped.Load(),
			expired: t.ctx.Err() != nil,
		})
	}
	return t.count(err)
}

// count counts a call that was begun and failed.
func (t *turn) count(err error) error {
	t.client.failures.Add(1)
	text := err.Error()
	t.client.lastErr.Store(&text)
	return err
}

// stream reads one Analyze to its end, within the bounds.
func (t *turn) stream(s *scratch) ([][]byte, error) {
	stream, err := t.life.cc.NewStream(t.ctx, &pb.Analysis_ServiceDesc.Streams[0],
		pb.Analysis_Analyze_FullMethodName, s.opts...)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&s.req); err != nil {
		return nil, err
	}
	c := t.client
	var alerts [][]byte
	size := 0
	for {
		switch err := stream.RecvMsg(&s.resp); {
		case err == io.EOF || err != nil && isEOF(err):
			return alerts, nil
		case err != nil:
			return nil, err
		}
		alert := s.resp.Bytes
		s.resp.Bytes = nil
		if len(alert) == 0 {
			continue
		}
		alerts = append(alerts, alert)
		size += len(alert)
		switch {
		case len(alerts) > c.opts.MaxAlerts:
			err = c.tooMany()
		case size > c.opts.MaxReply:
			err = c.tooMuch()
		}
		if err != nil {
			// gRPC is done with s only when the stream has ended.
			t.ctx.End(context.Canceled)
			for stream.RecvMsg(&s.resp) == nil {
			}
			return nil, err
		}
	}
}
