package demo

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

const (
	// pace is how often what is due goes out.
	pace = 10 * time.Millisecond
	// maxBehind is how far the traffic may fall behind the clock; what the node
	// cannot take beyond that is not made up.
	maxBehind = time.Second
	// closeWait is how long a stopping plugin waits for the last Acks.
	closeWait = time.Second
)

// source is the running plugin.
type source struct {
	plugins.Instance
	settings
}

// Run sends until ctx ends.
func (s *source) Run(ctx context.Context) error {
	in, err := plugins.NewInput(s.Sender())
	if err != nil {
		return err
	}
	err = s.send(ctx, in)
	if ctx.Err() != nil {
		err = nil
	}
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	// Made-up logs that are not stored are no loss.
	_ = in.Close(end)
	return err
}

func (s *source) send(ctx context.Context, in *plugins.Input) error {
	g := newGenerator(s.settings)
	start := time.Now()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		if late := time.Since(start) - g.now; late > maxBehind {
			start = start.Add(late - pace)
		}
		for due := time.Since(start); ; {
			l, ok := g.next(due)
			if !ok {
				break
			}
			at := start.Add(l.at).UTC()
			err := in.Send(ctx, &plugins.Log{
				DataType: l.dataType, DataSource: l.host, TenantId: s.Tenant,
				Timestamp: at.Format(time.RFC3339Nano), Raw: l.text(at),
			})
			if err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
