package plugins

import (
	"context"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is one of the contract's services over plain functions, served one
// call at a time and on the batch lane.
type service interface {
	// register makes the server serve the contract's service.
	register(grpc.ServiceRegistrar)
	// name is the service's full name.
	name() string
	// lane is how a method is called on the lane; nil for one of another service.
	lane(pb.LaneMethod) *laneMethod
}

// laneMethod is one of the contract's calls. call works on what request made,
// once it is decoded.
type laneMethod struct {
	request func() proto.Message
	call    func(*laneCall, proto.Message) error
}

// method makes a laneMethod of a function over the contract's types.
func method[T any, M interface {
	*T
	proto.Message
}](call func(*laneCall, M) error,
) *laneMethod {
	return &laneMethod{
		request: func() proto.Message { return M(new(T)) },
		call:    func(c *laneCall, m proto.Message) error { return call(c, m.(M)) },
	}
}

type parsing struct {
	pb.UnimplementedParsingServer
	do func(context.Context, *Transform) (*Draft, error)
}

func (s parsing) name() string                     { return pb.Parsing_ServiceDesc.ServiceName }
func (s parsing) register(r grpc.ServiceRegistrar) { pb.RegisterParsingServer(r, s) }

func (s parsing) lane(m pb.LaneMethod) *laneMethod {
	if m != pb.LaneMethod_PARSE_LOG {
		return nil
	}
	return method(func(c *laneCall, t *Transform) error {
		d, err := s.ParseLog(c, t)
		if err != nil {
			return err
		}
		return c.send(d)
	})
}

func (s parsing) ParseLog(ctx context.Context, t *Transform) (*Draft, error) {
	d, err := s.do(ctx, t)
	if err == nil && d == nil {
		return nil, status.Error(codes.Internal, "the parsing function returned no draft: return tr.Draft, changed or not")
	}
	return d, err
}

type analysis struct {
	pb.UnimplementedAnalysisServer
	do func(*Event, Analysis_AnalyzeServer) error
}

func (s analysis) name() string                     { return pb.Analysis_ServiceDesc.ServiceName }
func (s analysis) register(r grpc.ServiceRegistrar) { pb.RegisterAnalysisServer(r, s) }

func (s analysis) lane(m pb.LaneMethod) *laneMethod {
	if m != pb.LaneMethod_ANALYZE {
		return nil
	}
	return method(func(c *laneCall, e *Event) error {
		err := s.do(e, laneStream{c})
		if code, text, _ := laneStatus(err, nil); code == codes.Unknown && text == "EOF" {
			// How functions written for the SDK end an analysis.
			return nil
		}
		return err
	})
}

func (s analysis) Analyze(e *Event, out Analysis_AnalyzeServer) error { return s.do(e, out) }

type correlation struct {
	pb.UnimplementedCorrelationServer
	do func(context.Context, *Alert) (*emptypb.Empty, error)
}

func (s correlation) name() string                     { return pb.Correlation_ServiceDesc.ServiceName }
func (s correlation) register(r grpc.ServiceRegistrar) { pb.RegisterCorrelationServer(r, s) }

func (s correlation) lane(m pb.LaneMethod) *laneMethod {
	if m != pb.LaneMethod_CORRELATE {
		return nil
	}
	return method(func(c *laneCall, a *Alert) error {
		_, err := s.do(c, a)
		return err
	})
}

func (s correlation) Correlate(ctx context.Context, a *Alert) (*emptypb.Empty, error) {
	return answer(s.do(ctx, a))
}

type notification struct {
	pb.UnimplementedNotificationServer
	do func(context.Context, *Message) (*emptypb.Empty, error)
}

func (s notification) name() string                     { return pb.Notification_ServiceDesc.ServiceName }
func (s notification) register(r grpc.ServiceRegistrar) { pb.RegisterNotificationServer(r, s) }

func (s notification) lane(m pb.LaneMethod) *laneMethod {
	if m != pb.LaneMethod_NOTIFY {
		return nil
	}
	return method(func(c *laneCall, msg *Message) error {
		_, err := s.do(c, msg)
		return err
	})
}

func (s notification) Notify(ctx context.Context, m *Message) (*emptypb.Empty, error) {
	return answer(s.do(ctx, m))
}

type output struct {
	pb.UnimplementedOutputServer
	event func(context.Context, *Event) error
	alert func(context.Context, *Alert) error
}

func (s output) name() string                     { return pb.Output_ServiceDesc.ServiceName }
func (s output) register(r grpc.ServiceRegistrar) { pb.RegisterOutputServer(r, s) }

func (s output) lane(m pb.LaneMethod) *laneMethod {
	switch m {
	case pb.LaneMethod_EVENT_OUTPUT:
		return method(func(c *laneCall, e *Event) error {
			_, err := s.EventOutput(c, e)
			return err
		})
	case pb.LaneMethod_ALERT_OUTPUT:
		return method(func(c *laneCall, a *Alert) error {
			_, err := s.AlertOutput(c, a)
			return err
		})
	}
	return nil
}

func (s output) EventOutput(ctx context.Context, e *Event) (*emptypb.Empty, error) {
	if s.event == nil {
		return nil, status.Error(codes.Unimplemented, "this plugin takes no events")
	}
	return answer(nil, s.event(ctx, e))
}

func (s output) AlertOutput(ctx context.Context, a *Alert) (*emptypb.Empty, error) {
	if s.alert == nil {
		return nil, status.Error(codes.Unimplemented, "this plugin takes no alerts")
	}
	return answer(nil, s.alert(ctx, a))
}

// answer fills in the empty message where a function returned nil for it, which
// gRPC could not encode.
func answer(e *emptypb.Empty, err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, err
	}
	if e == nil {
		e = new(emptypb.Empty)
	}
	return e, nil
}
