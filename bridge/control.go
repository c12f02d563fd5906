package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Control requests go from commands to all nodes.
const subjectControl = "epmesh.control."

// Serve answers the control request with this name until ctx ends. ready is
// called once requests reach it; nil for nothing. answer is called by one
// goroutine at a time.
func (b *Bridge) Serve(ctx context.Context, name string, ready func(), answer func() ([]byte, error)) error {
	sub, err := b.nc.Subscribe(subjectControl+name, func(m *nats.Msg) {
		data, err := answer()
		if err != nil {
			b.log.Error("cannot answer", "request", name, "error", err)
			return
		}
		_ = m.Respond(data)
	})
	if err != nil {
		return fmt.Errorf("control %s: %w", name, err)
	}
	if err := b.nc.FlushTimeout(storeTimeout); err != nil && b.nc.IsConnected() {
		return fmt.Errorf("control %s: %w", name, err)
	}
	if ready != nil {
		ready()
	}
	<-ctx.Done()
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("control %s: %w", name, err)
	}
	return nil
}

// firstAnswer is how long Ask waits for an answer at all. Where nobody could
// give one, the server says so at once.
const firstAnswer = 5 * time.Second

// Ask sends a control request and gathers the answers of all nodes: it returns
// once none has come for quiet after the last, and no later than ctx allows.
func (b *Bridge) Ask(ctx context.Context, name string, quiet time.Duration) ([][]byte, error) {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("control %s: %w", name, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(subjectControl+name, inbox, nil); err != nil {
		return nil, fmt.Errorf("control %s: %w", name, err)
	}
	var answers [][]byte
	for wait := firstAnswer; ; wait = quiet {
		m, err := next(ctx, sub, wait)
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders), ctx.Err() != nil:
			return answers, nil
		case err != nil:
			return nil, fmt.Errorf("control %s: %w", name, err)
		}
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return answers, nil
		}
		answers = append(answers, m.Data)
	}
}

func next(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
