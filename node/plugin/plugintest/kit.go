package plugintest

import (
	"context"
	"io"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/plugins"
)

// kitOptions have the kit play a script. dir must be a folder named sockets.
func kitOptions(dir string, kind plugin.Kind, h *handler) plugins.Options {
	o := plugins.Options{
		Name: h.name, Dir: filepath.Dir(dir), Logger: hclog.NewNullLogger(), MaxMessage: h.script().MaxReceive,
	}
	switch kind {
	case plugin.Parsing:
		o.Parse = func(ctx context.Context, tr *plugins.Transform) (*plugins.Draft, error) {
			if err := h.item(ctx, "", tr); err != nil {
				return nil, err
			}
			return h.draft(tr.GetDraft())
		}
	case plugin.Analysis:
		o.Analyze = func(ctx context.Context, e *plugins.Event, emit func(*plugins.Alert) error) error {
			if err := h.item(ctx, e.GetId(), e); err != nil {
				return err
			}
			for _, alert := range h.alerts(e) {
				if err := emit(alert); err != nil {
					return err
				}
			}
			if h.script().EOF {
				return io.EOF
			}
			return nil
		}
	case plugin.Correlation:
		o.Correlate = func(ctx context.Context, a *plugins.Alert) error { return h.item(ctx, a.GetId(), a) }
	case plugin.Notification:
		o.Notify = func(ctx context.Context, m *plugins.Message) error { return h.item(ctx, m.GetId(), m) }
	case plugin.Output:
		o.EventOutput = func(ctx context.Context, e *plugins.Event) error { return h.item(ctx, e.GetId(), e) }
		o.AlertOutput = func(ctx context.Context, a *plugins.Alert) error { return h.item(ctx, a.GetId(), a) }
	}
	return o
}
