package bridge

import (
	"context"

	"github.com/nats-io/nats.go"
)

// storeUnder stores items with their subjects, one message after the other, each
// made by message.
func (r *run) storeUnder(ctx context.Context, items []Item, message func([]Item) *nats.Msg) error {
	for len(items) > 0 {
		n := r.b.fit(len(items), func(i int) int { return len(items[i].Body) + len(items[i].Subject) })
		if err := r.b.store(ctx, message(items[:n])); err != nil {
			if !IsPermanent(err) {
				return err
			}
			// A body that fitted alone does not with its subject.
			it := items[0]
			letter := DeadLetter{
				ID: it.ID, Received: it.Received, Stage: r.w.Consumer.Stage, Plugin: r.w.Consumer.Plugin, Attempts: 1,
				Reason: err.Error(), Subject: it.Subject, Consumer: r.w.Consumer.Name(), Body: it.Body,
			}
			if err := r.b.Dead(ctx, letter); err != nil {
				return err
			}
			n = 1
		}
		items = items[n:]
	}
	return nil
}
