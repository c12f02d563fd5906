package plugins

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestHealth(t *testing.T) {
	healthEvery = 5 * time.Millisecond
	dir := shortdir.New(t)
	var ill atomic.Bool
	stop := serve(t, Options{
		Name: "p", Dir: dir,
		Correlate: func(context.Context, *Alert) error { return nil },
		Health: func(context.Context) error {
			if ill.Load() {
				return errors.New("the store is away")
			}
			return nil
		},
	})
	client := healthpb.NewHealthClient(enginetest.Dial(t, dir, "p_correlation.sock"))
	const serving, not = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	for _, service := range []string{"", "plugins.Correlation"} {
		if r, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service}); err != nil || r.Status != serving {
			t.Errorf("%q: %v, %v", service, r, err)
		}
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "plugins.Analysis"}); status.Code(err) != codes.NotFound {
		t.Errorf("a service of another socket: %v", err)
	}
	if r, err := client.List(t.Context(), &healthpb.HealthListRequest{}); err != nil || len(r.Statuses) != 2 {
		t.Errorf("list: %v, %v", r, err)
	}
	watch := func(service string) healthpb.Health_WatchClient {
		w, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	known, unknown := watch(""), watch("other")
	if r, err := unknown.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("an unknown service: %v, %v", r, err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{serving, not, serving} {
		if r, err := known.Recv(); err != nil || r.Status != want {
			t.Errorf("watch: %v, %v, want %v", r, err, want)
		}
		ill.Store(!ill.Load())
	}
	if r, err := known.Recv(); err != nil || r.Status != not {
		t.Errorf("watch: %v, %v", r, err)
	}
	ill.Store(false)
	if r, err := known.Recv(); err != nil || r.Status != serving {
		t.Errorf("watch: %v, %v", r, err)
	}
	// Those who watch do not hold up the end.
	if err := stop(); err != nil {
		t.Error(err)
	}
	if r, err := known.Recv(); err != nil || r.Status != not {
		t.Errorf("watch at the end: %v, %v", r, err)
	}
	for _, w := range []healthpb.Health_WatchClient{known, unknown} {
		if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("watch after the end: %v", err)
		}
	}
}
