package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Ensure makes the streams and consumers, or changes them to what is asked.
// It is called before anything is published: a stream keeps a message for the
// consumers that it has at that moment. Consumers that are there and not asked
// for are left, and returned by name: what they would have taken is kept for
// them. A server that is away, and a cluster that has no leader or fewer servers
// than replicas, are waited for until ctx ends. Many nodes may do it at once.
func (b *Bridge) Ensure(ctx context.Context, consumers []Consumer) (orphans []string, err error) {
	err = b.patiently(ctx, func(ctx context.Context) error {
		orphans, err = b.ensure(ctx, consumers)
		return err
	})
	return orphans, err
}

func (b *Bridge) ensure(ctx context.Context, consumers []Consumer) (orphans []string, err error) {
	for _, s := range streams {
		if err := b.ensureStream(ctx, s.name, s.subjects); err != nil {
			return nil, err
		}
	}
	if err := b.ensureBegun(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureKeeper(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureState(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureLeases(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureNodes(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureConfigs(ctx); err != nil {
		return nil, err
	}
	for _, c := range consumers {
		if err := b.ensureConsumer(ctx, c); err != nil {
			return nil, err
		}
	}
	return b.Orphans(ctx, consumers)
}

// Orphans are the consumers, by name, that are there and not among these. Those
// that the server forgets by itself are left out.
func (b *Bridge) Orphans(ctx context.Context, consumers []Consumer) (orphans []string, err error) {
	wanted := map[string]bool{keeper: true}
	for _, c := range consumers {
		wanted[c.Name()] = true
		if c.Affinity.Key != "" {
			wanted[c.keyedName()] = true
		}
	}
	for _, s := range streams {
		_, all, err := b.consumersOf(ctx, s.name)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			name := groupName(c.Name, c.Config.Metadata)
			if of, _, ok := PlacedOf(name); ok && wanted[of] {
				continue // who serves that one works it off
			}
			if !wanted[name] && c.Config.InactiveThreshold == 0 && !slices.Contains(orphans, name) {
				orphans = append(orphans, name)
			}
		}
	}
	slices.Sort(orphans)
	return orphans, nil
}

// consumersOf are the consumers of a stream as they stand now. All are taken from
// the client's listing, which would wait for ever for who stops half-way.
func (b *Bridge) consumersOf(ctx context.Context, name string) (jetstream.Stream, []*jetstream.ConsumerInfo, error) {
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("stream %s: %w", name, err)
	}
	if stream.CachedInfo().State.Consumers == 0 {
		return stream, nil, nil
	}
	var all []*jetstream.ConsumerInfo
	list := stream.ListConsumers(ctx)
	for c := range list.Info() {
		all = append(all, c)
	}
	if err := list.Err(); err != nil {
		return nil, nil, fmt.Errorf("stream %s: list consumers: %w", name, err)
	}
	return stream, all, nil
}

// EnsureConsumers makes consumers of streams that are there, as patiently as
// Ensure.
func (b *Bridge) EnsureConsumers(ctx context.Context, consumers []Consumer) error {
	for _, c := range consumers {
		if err := b.patiently(ctx, func(ctx context.Context) error { return b.ensureConsumer(ctx, c) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bridge) ensureStream(ctx context.Context, name string, subjects []string) error {
	cfg := jetstream.StreamConfig{
		Name:        name,
		Description: "epmesh",
		Subjects:    subjects,
		// Interest keeps a message until every consumer has done it; a full
		// stream refuses the new instead of forgetting the old.
		Retention:  jetstream.InterestPolicy,
		Discard:    jetstream.DiscardNew,
		Storage:    jetstream.FileStorage,
		Replicas:   b.opts.Replicas,
		Duplicates: b.opts.Duplicates,
		MaxBytes:   -1,
	}
	if b.opts.MaxStore > 0 {
		cfg.MaxBytes = b.opts.MaxStore
	}
	switch name {
	case StreamDead:
		// Dead letters wait for a person, not for a consumer.
		cfg.Retention = jetstream.LimitsPolicy
	case StreamPlaced:
		// Each item is one consumer's, and kept where that is not there.
		cfg.Retention = jetstream.WorkQueuePolicy
	}
	return b.ensureConfig(ctx, "stream "+name, cfg)
}

// pullConfig is what all consumers have in common that Consume serves.
func (b *Bridge) pullConfig(c Consumer, durable string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       durable,
		Description:   strings.TrimSpace(c.Stage + " " + c.Plugin),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       b.opts.AckWait,
		MaxDeliver:    -1, // giving up is ours, see Consume: a server that gives up forgets
		MaxAckPending: 4096,
		MaxWaiting:    4096,
		Metadata:      map[string]string{"epmesh.stage": c.Stage, "epmesh.plugin": c.Plugin},
	}
}

func (b *Bridge) ensureConsumer(ctx context.Context, c Consumer) error {
	cfg := b.pullConfig(c, c.Name())
	if len(c.Subjects) == 1 {
		cfg.FilterSubject = c.Subjects[0]
	} else {
		cfg.FilterSubjects = c.Subjects
	}
	if c.Stream == StreamAlert {
		// What is kept there is done: see Keep.
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	if c.Affinity.Key != "" {
		cfg.AckWait = b.partAckWait()
	}
	if c.Transient {
		cfg.InactiveThreshold = transientFor
	}
	if err := b.ensureConsumerConfig(ctx, c.Stream, cfg); err != nil || c.Affinity.Key == "" {
		return err
	}
	return b.ensureParts(ctx, c)
}

// Prune deletes a consumer and lets go what was kept for it. It is an error
// where there is none.
func (b *Bridge) Prune(ctx context.Context, name string) error {
	if pruned, err := b.pruneParts(ctx, name); pruned || err != nil {
		return err
	}
	if pruned, err := b.prunePlaced(ctx, name); pruned || err != nil {
		return err
	}
	for _, s := range streams {
		err := b.js.DeleteConsumer(ctx, s.name, name)
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("prune %s: %w", name, err)
		}
	}
	return fmt.Errorf("prune %s: no such consumer; epmesh status lists them", name)
}
