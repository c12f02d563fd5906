package plugins

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthEvery is how often Watch asks; tests ask more often.
var healthEvery = time.Second

// health answers grpc.health.v1, for the whole ("") and for the contract's
// service of a socket. gRPC's own server for it would have to be told of each
// change, and one that watches it would hold up the plugin's end.
type health struct {
	ask      func(context.Context) error
	stopped  chan struct{}
	stopOnce sync.Once
}

func newHealth(ask func(context.Context) error) *health {
	return &health{ask: ask, stopped: make(chan struct{})}
}

func (h *health) register(s grpc.ServiceRegistrar, service string) {
	healthpb.RegisterHealthServer(s, healthServer{health: h, service: service})
}

// stop says that the plugin no longer serves.
func (h *health) stop() { h.stopOnce.Do(func() { close(h.stopped) }) }

func (h *health) status(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	select {
	case <-h.stopped:
		return healthpb.HealthCheckResponse_NOT_SERVING
	default:
	}
	if h.ask != nil && h.ask(ctx) != nil {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

type healthServer struct {
	healthpb.UnimplementedHealthServer
	*health
	service string
}

func (s healthServer) knows(service string) bool { return service == "" || service == s.service }

func (s healthServer) Check(ctx context.Context, in *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !s.knows(in.GetService()) {
		return nil, status.Errorf(codes.NotFound, "this socket serves %s", s.service)
	}
	return &healthpb.HealthCheckResponse{Status: s.status(ctx)}, nil
}

func (s healthServer) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	now := &healthpb.HealthCheckResponse{Status: s.status(ctx)}
	return &healthpb.HealthListResponse{Statuses: map[string]*healthpb.HealthCheckResponse{"": now, s.service: now}}, nil
}

// Watch sends the status and each other one that follows.
func (s healthServer) Watch(in *healthpb.HealthCheckRequest, out healthpb.Health_WatchServer) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for ending := false; ; {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if s.knows(in.GetService()) {
			now = s.status(out.Context())
		}
		if now != last {
			last = now
			if err := out.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
		}
		if ending {
			return status.Error(codes.Unavailable, "the plugin stops")
		}
		select {
		case <-s.stopped:
			ending = true
		case <-tick.C:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}
