package plugin

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

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
	draft := new(pb.Draft)
	if err := c.unary(ctx, pb.Parsing_ParseLog_FullMethodName, tr, draft, o); err != nil {
		return nil, err
	}
	return draft, nil
}

// Correlate hands an Alert in wire form to a correlation plugin. alert must not
// change, not even after the call has returned.
func (c *Client) Correlate(ctx context.Context, alert []byte, o CallOptions) error {
	return c.send(ctx, pb.Correlation_Correlate_FullMethodName, alert, o)
}

// Notify hands a Message in wire form to a notification plugin. msg must not
// change, not even after the call has returned.
func (c *Client) Notify(ctx context.Context, msg []byte, o CallOptions) error {
	return c.send(ctx, pb.Notification_Notify_FullMethodName, msg, o)
}

// EventOutput hands an Event in wire form to an output plugin. event must not
// change, not even after the call has returned.
func (c *Client) EventOutput(ctx context.Context, event []byte, o CallOptions) error {
	return c.send(ctx, pb.Output_EventOutput_FullMethodName, event, o)
}

// AlertOutput hands an Alert in wire form to an output plugin. alert must not
// change, not even after the call has returned.
func (c *Client) AlertOutput(ctx context.Context, alert []byte, o CallOptions) error {
	return c.send(ctx, pb.Output_AlertOutput_FullMethodName, alert, o)
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
	s := c.newScratch()
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

// send is a unary call whose answer says nothing.
func (c *Client) send(ctx context.Context, method string, body []byte, o CallOptions) error {
	if err := c.checkSize(body); err != nil {
		return err
	}
	var t turn
	if err := c.enter(ctx, o, &t); err != nil {
		return err
	}
	defer t.leave()
	s := c.newScratch()
	s.req.Bytes = body
	err := t.life.cc.Invoke(t.ctx, method, &s.req, &s.resp, s.opts...)
	if err != nil && !isNoReply(err) {
		err = t.fail(err, s)
	} else {
		err = nil
	}
	s.free()
	return err
}

func (c *Client) unary(ctx context.Context, method string, req, resp any, o CallOptions) error {
	var t turn
	if err := c.enter(ctx, o, &t); err != nil {
		return err
	}
	defer t.leave()
	s := c.newScratch()
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
	ctx    *callContext
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
	t.ctx = c.watch.add(ctx, time.Now().Add(c.opts.CallTimeout))
	c.inFlight.Add(1)
	return nil
}

func (t *turn) leave() {
	t.client.watch.remove(t.ctx)
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
			err = c.permanent("answered one event with more than %d alerts, the most that is taken", c.opts.MaxAlerts)
		case size > c.opts.MaxReply:
			err = c.permanent("answered one event with more than %d bytes of alerts, the most that is taken", c.opts.MaxReply)
		}
		if err != nil {
			// gRPC is done with s only when the stream has ended.
			t.ctx.end(context.Canceled)
			for stream.RecvMsg(&s.resp) == nil {
			}
			return nil, err
		}
	}
}
