package plugins

import (
	"context"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The contract's services over plain functions.
type (
	parsing struct {
		pb.UnimplementedParsingServer
		do func(context.Context, *Transform) (*Draft, error)
	}
	analysis struct {
		pb.UnimplementedAnalysisServer
		do func(*Event, Analysis_AnalyzeServer) error
	}
	correlation struct {
		pb.UnimplementedCorrelationServer
		do func(context.Context, *Alert) (*emptypb.Empty, error)
	}
	notification struct {
		pb.UnimplementedNotificationServer
		do func(context.Context, *Message) (*emptypb.Empty, error)
	}
	output struct {
		pb.UnimplementedOutputServer
		event func(context.Context, *Event) error
		alert func(context.Context, *Alert) error
	}
)

func (s parsing) ParseLog(ctx context.Context, t *Transform) (*Draft, error) {
	d, err := s.do(ctx, t)
	if err == nil && d == nil {
		return nil, status.Error(codes.Internal, "the parsing function returned no draft: return tr.Draft, changed or not")
	}
	return d, err
}

func (s analysis) Analyze(e *Event, out Analysis_AnalyzeServer) error { return s.do(e, out) }

func (s correlation) Correlate(ctx context.Context, a *Alert) (*emptypb.Empty, error) {
	return answer(s.do(ctx, a))
}

func (s notification) Notify(ctx context.Context, m *Message) (*emptypb.Empty, error) {
	return answer(s.do(ctx, m))
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
