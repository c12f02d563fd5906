package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A server knows a repeated id by the messages that are still stored: once a
// message has been taken by all its consumers it is gone, and after a restart
// so is its id. The acknowledgements of the last moments before a crash are gone
// too, so an event may come to its analysis plugin again whose alert was stored,
// taken and forgotten. Alerts are therefore kept for as long as their ids must
// be known, by a consumer of our own that takes each only then.

const keeper = "keep-alerts"

// keepBatch is how many alerts are let go with one acknowledgement.
const keepBatch = 256

// keepWait is how long such a batch is waited for.
const keepWait = 2 * time.Second

func (b *Bridge) ensureKeeper(ctx context.Context) error {
	_, err := b.js.CreateOrUpdateConsumer(ctx, StreamAlert, jetstream.ConsumerConfig{
		Durable:       keeper,
		Description:   "keeps alerts, and so their ids, for the duplicate window",
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       b.opts.Duplicates + time.Minute,
		MaxDeliver:    -1,
		MaxAckPending: 4 * keepBatch,
		HeadersOnly:   true,
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", keeper, err)
	}
	return nil
}

// Keep lets go of alerts that are older than the duplicate window, until ctx
// ends. Any number of nodes may do so at once. Without one that does, alerts stay
// stored.
func (b *Bridge) Keep(ctx context.Context) error {
	consumer, err := b.js.Consumer(ctx, StreamAlert, keeper)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", keeper, err)
	}
	for ctx.Err() == nil {
		if err := b.letGo(ctx, consumer); err != nil && ctx.Err() == nil {
			b.log.Debug("cannot let go of old alerts, trying again", "error", err)
			_ = sleep(ctx, time.Second)
		}
	}
	return nil
}

// letGo takes some alerts, waits until all of them are old, and acknowledges
// the last, which stands for all.
func (b *Bridge) letGo(ctx context.Context, consumer jetstream.Consumer) error {
	wait, cancel := context.WithTimeout(ctx, keepWait)
	defer cancel()
	batch, err := consumer.Fetch(keepBatch, jetstream.FetchContext(wait))
	if err != nil {
		return err
	}
	var last jetstream.Msg
	for m := range batch.Messages() {
		last = m
	}
	if last == nil {
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
	meta, err := last.Metadata()
	if err != nil {
		return err
	}
	// A moment more: the server's clock is not this one's.
	if err := sleep(ctx, time.Until(meta.Timestamp.Add(b.opts.Duplicates+time.Second))); err != nil {
		return err
	}
	return last.Ack()
}
