package plugins

import (
	"context"
	"os/signal"
	"syscall"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// InitParsingPlugin serves parse on <name>_parsing.sock until SIGINT or
// SIGTERM, then lets calls in flight end. It returns nil after a signal, or the
// error that ended it, which it has also logged: the programs it is made for
// do not look at it.
func InitParsingPlugin(name string, parse func(context.Context, *Transform) (*Draft, error)) error {
	return initPlugin(name, "parsing", func(s *grpc.Server) { pb.RegisterParsingServer(s, parsing{do: parse}) })
}

// InitAnalysisPlugin is like InitParsingPlugin, for <name>_analysis.sock. The
// function sends its alerts on the stream and returns nil; it does not keep the
// stream.
func InitAnalysisPlugin(name string, analyze func(*Event, Analysis_AnalyzeServer) error) error {
	return initPlugin(name, "analysis", func(s *grpc.Server) { pb.RegisterAnalysisServer(s, analysis{do: analyze}) })
}

// InitCorrelationPlugin is like InitParsingPlugin, for <name>_correlation.sock.
func InitCorrelationPlugin(name string, correlate func(context.Context, *Alert) (*emptypb.Empty, error)) error {
	return initPlugin(name, "correlation", func(s *grpc.Server) { pb.RegisterCorrelationServer(s, correlation{do: correlate}) })
}

// InitNotificationPlugin is like InitParsingPlugin, for
// <name>_notification.sock.
func InitNotificationPlugin(name string, notify func(context.Context, *Message) (*emptypb.Empty, error)) error {
	return initPlugin(name, "notification", func(s *grpc.Server) { pb.RegisterNotificationServer(s, notification{do: notify}) })
}

func initPlugin(name, kind string, register func(*grpc.Server)) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := NewLogger(name, nil)
	err := Serve(ctx, Options{
		Name:     name,
		Logger:   log,
		register: map[string]func(*grpc.Server){kind: register},
	})
	if err != nil {
		log.Error("plugin ended", "error", err)
	}
	return err
}
