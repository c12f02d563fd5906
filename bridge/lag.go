package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Lag is how far a consumer is behind, on all nodes together.
type Lag struct {
	// Messages are not done: Pending of them wait in the stream, workers hold the
	// others.
	Messages, Pending uint64
	// Items are those that these hold; an estimate, from some of them.
	Items float64
	// Oldest is when the oldest of them was stored, by the server's clock; zero
	// where there is none.
	Oldest time.Time
}

// lagSamples are how many messages of those that are not done are looked into
// for the number of their items, besides the oldest.
const lagSamples = 3

// Lags asks the server how far each consumer is behind, by name. A consumer with
// something to do costs up to four messages to be read.
func (b *Bridge) Lags(ctx context.Context) (map[string]Lag, error) {
	lags := map[string]Lag{}
	for _, s := range streams {
		stream, all, err := b.consumersOf(ctx, s.name)
		if err != nil {
			return nil, err
		}
		last := stream.CachedInfo().State.LastSeq
		for _, c := range all {
			if c.Name == keeper {
				continue
			}
			lag, err := lagOf(ctx, stream, c, last)
			if err != nil {
				return nil, err
			}
			name := groupName(c.Name, c.Config.Metadata)
			lags[name] = lags[name].Plus(lag)
		}
	}
	return lags, nil
}

// Plus joins the lags of parts of one consumer.
func (l Lag) Plus(o Lag) Lag {
	if l.Oldest.IsZero() || !o.Oldest.IsZero() && o.Oldest.Before(l.Oldest) {
		l.Oldest = o.Oldest
	}
	l.Messages += o.Messages
	l.Pending += o.Pending
	l.Items += o.Items
	return l
}

func lagOf(ctx context.Context, stream jetstream.Stream, c *jetstream.ConsumerInfo, last uint64) (Lag, error) {
	lag := Lag{Messages: c.NumPending + uint64(c.NumAckPending), Pending: c.NumPending}
	if lag.Messages == 0 {
		return lag, nil
	}
	filters := c.Config.FilterSubjects
	if len(filters) == 0 {
		filters = []string{cmp.Or(c.Config.FilterSubject, ">")}
	}
	first := c.AckFloor.Stream + 1
	oldest, err := nextOf(ctx, stream, first, filters)
	if err != nil {
		return lag, err
	}
	if oldest == nil {
		return lag, nil // it was done meanwhile
	}
	lag.Oldest = oldest.Time
	items, looked := itemsIn(oldest), 1
	// A message that found its lane idle holds one item, and those behind it many:
	// the oldest alone would mislead.
	for i := uint64(1); i <= lagSamples && lag.Messages > 1 && last > oldest.Sequence; i++ {
		m, err := nextOf(ctx, stream, oldest.Sequence+1+(last-oldest.Sequence)*(2*i-1)/(2*lagSamples), filters)
		if err != nil {
			return lag, err
		}
		if m != nil {
			items, looked = items+itemsIn(m), looked+1
		}
	}
	lag.Items = float64(lag.Messages) * float64(items) / float64(looked)
	return lag, nil
}

// nextOf is the first message from seq on that one of the filters takes; nil for
// none.
func nextOf(ctx context.Context, stream jetstream.Stream, seq uint64, filters []string) (*jetstream.RawStreamMsg, error) {
	var first *jetstream.RawStreamMsg
	for _, f := range filters {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(f))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what waits: %w", err)
		}
		if first == nil || m.Sequence < first.Sequence {
			first = m
		}
	}
	return first, nil
}

// itemsIn is how many items a stored message holds; 1 where that cannot be read.
func itemsIn(m *jetstream.RawStreamMsg) int {
	items, err := decodeBatch(m.Data, m.Subject)
	if err != nil {
		return 1
	}
	return max(len(items), 1)
}
