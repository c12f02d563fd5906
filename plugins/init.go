package plugins

import (
	"context"
	"os/signal"
	"syscall"

	"google.golang.org/protobuf/types/known/emptypb"
)

// InitParsingPlugin serves parse on <name>_parsing.sock until SIGINT or
// SIGTERM, then lets calls in flight end. It returns nil after a signal, or the
// error that ended it, which it has also logged: the programs it is made for
// do not look at it.
func InitParsingPlugin(name string, parse func(context.Context, *Transform) (*Draft, error)) error {
	return initPlugin(name, "parsing", parsing{do: parse})
}

// InitAnalysisPlugin is like InitParsingPlugin, for <name>_analysis.sock. The
// function sends its alerts on the stream and returns nil; it does not keep the
// stream.
func InitAnalysisPlugin(name string, analyze func(*Event, Analysis_AnalyzeServer) error) error {
	return initPlugin(name, "analysis", analysis{do: analyze})
}

// InitCorrelationPlugin is like InitParsingPlugin, for <name>_correlation.sock.
func InitCorrelationPlugin(name string, correlate func(context.Context, *Alert) (*emptypb.Empty, error)) error {
	return initPlugin(name, "correlation", correlation{do: correlate})
}

// InitNotificationPlugin is like InitParsingPlugin, for
// <name>_notification.sock.
func InitNotificationPlugin(name string, notify func(context.Context, *Message) (*emptypb.Empty, error)) error {
	return initPlugin(name, "notification", notification{do: notify})
}

func initPlugin(name, kind string, s service) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := NewLogger(name, nil)
	err := Serve(ctx, Options{
		Name:     name,
		Logger:   log,
		services: map[string]service{kind: s},
	})
	if err != nil {
		log.Error("plugin ended", "error", err)
	}
	return err
}
