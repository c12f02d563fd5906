package bridge

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Items that have to meet at one instance of a plugin take one more hop. One
// node at a time routes: it takes them from their stage's stream, in order, and
// stores each in the part of the keyed stream that its key falls into (Route).
// Each part is a consumer of its own, which one node at a time serves, one
// message after the other (ConsumePart).

// Affinity says by what a consumer's items are told apart.
type Affinity struct {
	Key   string // the key's source; empty for none
	Parts int    // that the keys are divided into; 0 for DefaultParts
}

// KeyedPrefix begins the name that stands for the consumers of all parts.
const KeyedPrefix = "keyed-"

// DefaultParts is how many parts there are where nobody says.
const DefaultParts = 64

const (
	partsKey = "epmesh.parts" // of a consumer's metadata
	groupKey = "epmesh.group"
)

// PartOf is the part that a key falls into.
func PartOf(key string, parts int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum64() % uint64(parts))
}

// RouteLease is the name of the lease under which the consumer's items are
// routed, and PartLease that of one part.
func (c Consumer) RouteLease() string { return "route." + c.Name() }

// PartLease is the name of the lease under which a part is served.
func (c Consumer) PartLease(part int) string { return "part." + c.Name() + "." + strconv.Itoa(part) }

func (c Consumer) keyedName() string { return KeyedPrefix + c.Name() }

func (c Consumer) partName(part int) string { return c.keyedName() + "-" + strconv.Itoa(part) }

func (c Consumer) partSubject(part int) string {
	return subjectKeyed + c.Name() + "." + strconv.Itoa(part)
}

// groupName is a consumer's name, or that of all parts it belongs to.
func groupName(name string, metadata map[string]string) string {
	if group := metadata[groupKey]; group != "" {
		return group
	}
	return name
}

// partAckWait is how long the work of a node that was killed is kept from the
// next: less than its leases are, so that all has come back when they are free.
func (b *Bridge) partAckWait() time.Duration { return min(b.opts.AckWait, leaseTTL*2/3) }

// ensureParts makes the consumers of a consumer's parts. Their number stays what
// it was at first for as long as they are there.
func (b *Bridge) ensureParts(ctx context.Context, c Consumer) error {
	parts, err := b.Parts(ctx, c)
	if err != nil {
		return err
	}
	if want := max(c.Affinity.Parts, 0); want > 0 && want != parts {
		b.log.Warn("the keys are divided as they were before", "consumer", c.keyedName(), "partitions", parts, "configured", want,
			"cure", "when nothing waits there, stop the nodes' plugin and: epmesh prune "+c.keyedName())
	}
	have := map[string]bool{}
	stream, err := b.js.Stream(ctx, StreamKeyed)
	if err != nil {
		return fmt.Errorf("stream %s: %w", StreamKeyed, err)
	}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		have[name] = true
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("stream %s: list consumers: %w", StreamKeyed, err)
	}
	for part := range parts {
		if have[c.partName(part)] {
			continue
		}
		err := b.ensureConsumerConfig(ctx, StreamKeyed, jetstream.ConsumerConfig{
			Durable:       c.partName(part),
			Description:   strings.TrimSpace(c.Stage + " " + c.Plugin + " " + strconv.Itoa(part)),
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       b.partAckWait(),
			MaxDeliver:    -1,
			MaxAckPending: 1, // nothing passes what is not done
			FilterSubject: c.partSubject(part),
			Metadata: map[string]string{
				"epmesh.stage": c.Stage, "epmesh.plugin": c.Plugin, groupKey: c.keyedName(), partsKey: strconv.Itoa(parts),
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Parts is how many parts the consumer's keys are divided into: as many as the
// consumers that are there say, or else as its affinity asks for.
func (b *Bridge) Parts(ctx context.Context, c Consumer) (int, error) {
	first, err := b.js.Consumer(ctx, StreamKeyed, c.partName(0))
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		if c.Affinity.Parts > 0 {
			return c.Affinity.Parts, nil
		}
		return DefaultParts, nil
	case err != nil:
		return 0, fmt.Errorf("consumer %s: %w", c.partName(0), err)
	}
	n, err := strconv.Atoi(first.CachedInfo().Config.Metadata[partsKey])
	if err != nil || n < 1 {
		return 0, fmt.Errorf("consumer %s does not say how many there are; epmesh prune %s", c.partName(0), c.keyedName())
	}
	return n, nil
}

// pruneParts deletes the consumers of all parts, where name stands for them.
func (b *Bridge) pruneParts(ctx context.Context, name string) (pruned bool, err error) {
	if !strings.HasPrefix(name, KeyedPrefix) {
		return false, nil
	}
	_, all, err := b.consumersOf(ctx, StreamKeyed)
	if err != nil {
		return false, fmt.Errorf("prune %s: %w", name, err)
	}
	var found []string
	for _, c := range all {
		if groupName(c.Name, c.Config.Metadata) == name {
			found = append(found, c.Name)
		}
	}
	for _, part := range found {
		if err := b.js.DeleteConsumer(ctx, StreamKeyed, part); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return true, fmt.Errorf("prune %s: %w", name, err)
		}
	}
	return len(found) > 0, nil
}

// addPart adds what a part has before it to that of all parts.
func addPart(pending []Pending, c *jetstream.ConsumerInfo) []Pending {
	p := Pending{
		Name: groupName(c.Name, c.Config.Metadata), Stage: c.Config.Metadata["epmesh.stage"], Plugin: c.Config.Metadata["epmesh.plugin"],
		Stream: StreamKeyed,
	}
	i := 0
	for i < len(pending) && pending[i].Name != p.Name {
		i++
	}
	if i == len(pending) {
		pending = append(pending, p)
	}
	pending[i].Messages += c.NumPending
	pending[i].Unacked += c.NumAckPending
	pending[i].Redelivered += c.NumRedelivered
	return pending
}

// keyedMessage is one message of a part.
func keyedMessage(subject string, items []Item) *nats.Msg {
	return rawMessage(subject, NewID([]byte(subject), idsOf(items)), encodeKeyed(items))
}
