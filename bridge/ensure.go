package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ensureTry bounds one request: its answer may be lost with the leader that was
// to give it.
const ensureTry = 5 * time.Second

// ensureConfig makes a stream, or changes it to cfg. A stream is never given
// fewer replicas than it has: a node that knows nothing of the others' setting
// must not take a copy away. what names the stream for people.
func (b *Bridge) ensureConfig(ctx context.Context, what string, cfg jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTry)
	defer cancel()
	if err := b.createOrUpdate(ctx, cfg); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (b *Bridge) createOrUpdate(ctx context.Context, cfg jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = b.js.CreateStream(ctx, cfg)
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		// Another node was faster, and has other settings than this one.
		stream, err = b.js.Stream(ctx, cfg.Name)
	}
	if err != nil {
		return err
	}
	if has := stream.CachedInfo().Config.Replicas; has > cfg.Replicas {
		b.fewer.Do(func() {
			b.log.Warn("streams have more replicas than nats.replicas says; they keep them", "stream", cfg.Name, "replicas", has, "nats.replicas", cfg.Replicas)
		})
		cfg.Replicas, cfg.AllowDirect = has, false // an answer of one that is behind is none
	}
	if has := stream.CachedInfo().Config.Storage; has != cfg.Storage {
		return fmt.Errorf("it is there and kept in memory, which survives nothing: delete it once it is empty (nats stream rm %s), and the node makes it anew on disk", cfg.Name)
	}
	_, err = b.js.UpdateStream(ctx, cfg)
	return err
}

// ensureConsumerConfig makes a consumer, or changes it to cfg.
func (b *Bridge) ensureConsumerConfig(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTry)
	defer cancel()
	if _, err := b.js.CreateOrUpdateConsumer(ctx, stream, cfg); err != nil {
		return fmt.Errorf("consumer %s: %w", cfg.Durable, err)
	}
	return nil
}
