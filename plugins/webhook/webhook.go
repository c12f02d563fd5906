// Package webhook is the bundled notification plugin that posts messages to a
// URL: as JSON, through a template, or the way Slack and Teams want it.
//
// A call is answered with success once the receiver has taken the message. A
// receiver that is away has the node keep its messages, without end and without
// harm to others.
package webhook

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// remembered is how many messages are known that were posted.
const remembered = 1 << 16

// hook is the running plugin.
type hook struct {
	plugins.Instance
	Settings
	format formatter
	client *http.Client
	gate   *delivery.Gate
	once   *delivery.Once
	slots  chan struct{}
	limit  *rate.Limiter
	// stopping is closed when the plugin stops: what waits then goes back to the
	// node at once.
	stopping chan struct{}
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	err := s.check()
	if err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	h := &hook{
		Instance: i, Settings: s, gate: delivery.NewGate(), once: delivery.NewOnce(remembered),
		slots: make(chan struct{}, s.Concurrency), stopping: make(chan struct{}),
	}
	if h.format, err = s.formatter(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	if h.client, err = s.client(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	h.limit = rate.NewLimiter(rate.Inf, 0)
	if s.Rate > 0 {
		h.limit = rate.NewLimiter(rate.Limit(s.Rate), max(int(s.Rate), 1))
	}
	return h, nil
}

// Run serves until ctx ends.
func (h *hook) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { close(h.stopping) })
	defer stop()
	defer h.client.CloseIdleConnections()
	return plugins.Serve(ctx, plugins.Options{Name: h.Name, Dir: h.Dir, Logger: h.Logger, Notify: h.notify})
}

// notify delivers one message. What comes again while it is being posted waits
// for how that ends, and what was posted is not posted again.
func (h *hook) notify(ctx context.Context, m *pb.Message) error {
	if len(h.Topics) > 0 && !slices.Contains(h.Topics, m.GetTopic()) {
		return nil
	}
	deliver := func() error { return h.deliver(ctx, m) }
	if m.GetId() == "" {
		return deliver()
	}
	return h.once.Do(ctx, delivery.KeyOf(m.GetId(), m.GetTopic()), deliver)
}

func (h *hook) deliver(ctx context.Context, m *pb.Message) error {
	body, err := h.format(m)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "write body: %v", err)
	}
	if len(body) > h.MaxBody {
		return status.Errorf(codes.InvalidArgument, "the body has %d bytes, more than maxBody (%d)", len(body), h.MaxBody)
	}
	return h.post(ctx, m.GetId(), body)
}
