package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stream names, one a stage.
const (
	StreamLog     = "EPMESH_LOG"
	StreamDraft   = "EPMESH_DRAFT"
	StreamEvent   = "EPMESH_EVENT"
	StreamAlert   = "EPMESH_ALERT"
	StreamMessage = "EPMESH_MESSAGE"
	StreamKeyed   = "EPMESH_KEYED"
	StreamPlaced  = "EPMESH_PLACED"
	StreamDead    = "EPMESH_DEAD"
)

var streams = []struct {
	name     string
	subjects []string
}{
	{StreamLog, []string{subjectLog + ">"}},
	{StreamDraft, []string{subjectDraft + ">"}},
	{StreamEvent, []string{subjectEvent + ">"}},
	{StreamAlert, []string{subjectAlert + ">"}},
	{StreamMessage, []string{subjectMsg + ">", subjectEngine + ">"}},
	{StreamKeyed, []string{subjectKeyed + ">"}},
	{StreamPlaced, []string{subjectPlaced + ">"}},
	{StreamDead, []string{subjectDead + ">"}},
}

// Consumer names one durable consumer: who takes which subjects of a stream.
// All nodes that serve it share its work.
type Consumer struct {
	// Stage is parse, draft, analysis, correlation, notification or output.
	Stage string
	// Plugin is whom the items are for, or empty for the stage itself.
	Plugin string
	Stream string
	// Subjects are what it takes; none means all of the stream, which the server
	// finds with less work and memory than by a filter.
	Subjects []string
	// Transient: the server forgets the consumer, and lets go what it kept for
	// it, when nobody has served it for transientFor.
	Transient bool
	// Affinity tells items apart that have to meet at one instance of the plugin;
	// the zero value does not. Such a consumer is served by Route and by
	// ConsumePart instead of by Consume.
	Affinity Affinity
}

const transientFor = 10 * time.Minute

// WhileThere is the consumer made transient: for a plugin that no configuration
// names.
func (c Consumer) WhileThere() Consumer {
	c.Transient = true
	return c
}

// Name is the consumer's durable name.
func (c Consumer) Name() string {
	if c.Plugin == "" {
		return c.Stage
	}
	return c.Stage + "-" + Token(c.Plugin)
}

// ParseConsumer takes all logs.
func ParseConsumer() Consumer {
	return Consumer{Stage: "parse", Stream: StreamLog}
}

// DraftConsumer takes the drafts that wait for a parsing plugin.
func DraftConsumer(plugin string) Consumer {
	return Consumer{Stage: "draft", Plugin: plugin, Stream: StreamDraft, Subjects: []string{subjectDraft + Token(plugin) + ".>"}}
}

// AnalysisConsumer takes all events for an analysis plugin.
func AnalysisConsumer(plugin string) Consumer {
	return Consumer{Stage: "analysis", Plugin: plugin, Stream: StreamEvent}
}

// CorrelationConsumer takes all alerts for a correlation plugin.
func CorrelationConsumer(plugin string) Consumer {
	return Consumer{Stage: "correlation", Plugin: plugin, Stream: StreamAlert}
}

// EventOutputConsumer takes all events for an output plugin.
func EventOutputConsumer(plugin string) Consumer {
	return Consumer{Stage: "event-output", Plugin: plugin, Stream: StreamEvent}
}

// AlertOutputConsumer takes all alerts for an output plugin.
func AlertOutputConsumer(plugin string) Consumer {
	return Consumer{Stage: "alert-output", Plugin: plugin, Stream: StreamAlert}
}

// NotificationConsumer takes messages for a notification plugin: those of the
// topics, or where there are none all that plugins send. An engine topic is
// taken only where it is named; engine lists them.
func NotificationConsumer(plugin string, topics, engine []string) Consumer {
	c := Consumer{Stage: "notification", Plugin: plugin, Stream: StreamMessage}
	if len(topics) == 0 {
		c.Subjects = []string{subjectMsg + ">"}
	}
	for _, t := range topics {
		c.Subjects = append(c.Subjects, MessageSubject(t))
		if slices.Contains(engine, t) {
			c.Subjects = append(c.Subjects, EngineSubject(t))
		}
	}
	return c
}

// Ensure makes the streams and consumers, or changes them to what is asked.
// It is called before anything is published: a stream keeps a message for the
// consumers that it has at that moment. Consumers that are there and not asked
// for are left, and returned by name: what they would have taken is kept for
// them. A server that is away, and a cluster that has no leader or fewer servers
// than replicas, are waited for until ctx ends. Many nodes may do it at once.
func (b *Bridge) Ensure(ctx context.Context, consumers []Consumer) (orphans []string, err error) {
	err = b.patiently(ctx, func() error {
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
		if err := b.patiently(ctx, func() error { return b.ensureConsumer(ctx, c) }); err != nil {
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

// Pending is how much a consumer has before it.
type Pending struct {
	Name   string `json:"consumer"`
	Stage  string `json:"stage"`
	Plugin string `json:"plugin,omitempty"`
	Stream string `json:"stream"`
	// Messages wait in the stream; each holds one or more items.
	Messages uint64 `json:"pending"`
	// Unacked are with workers.
	Unacked int `json:"unacked"`
	// Redelivered of these came more than once.
	Redelivered int `json:"redelivered"`
}

// StreamState is what a stream holds.
type StreamState struct {
	Name     string `json:"stream"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"` // 0: no limit
	Replicas int    `json:"replicas"`
}

// State asks the server for all streams and consumers of epmesh. With an error it
// returns those that could be asked for.
func (b *Bridge) State(ctx context.Context) ([]StreamState, []Pending, error) {
	var states []StreamState
	var pending []Pending
	var failed []error
	for _, s := range streams {
		stream, all, err := b.consumersOf(ctx, s.name)
		if err != nil {
			if failed = append(failed, err); ctx.Err() != nil {
				break
			}
			continue
		}
		info := stream.CachedInfo()
		states = append(states, StreamState{
			Name: s.name, Messages: info.State.Msgs, Bytes: info.State.Bytes,
			MaxBytes: max(info.Config.MaxBytes, 0), Replicas: info.Config.Replicas,
		})
		for _, c := range all {
			if c.Name == keeper {
				continue
			}
			if s.name == StreamKeyed {
				pending = addPart(pending, c)
				continue
			}
			pending = append(pending, Pending{
				Name: c.Name, Stage: c.Config.Metadata["epmesh.stage"], Plugin: c.Config.Metadata["epmesh.plugin"], Stream: s.name,
				Messages: c.NumPending, Unacked: c.NumAckPending, Redelivered: c.NumRedelivered,
			})
		}
	}
	return states, pending, errors.Join(failed...)
}
