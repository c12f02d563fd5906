package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server that starts again knows the ids of those messages that are still in
// the stream, and an Interest stream lets a message go as soon as all consumers
// have done it. An alert that was done just before a crash, whose event was not,
// would be stored a second time. So one more consumer holds alerts back for the
// duplicate window.

// keeper is its name. It gets no items, only headers.
const keeper = "keep"

// Bounds of what is kept. What they have to cover is what is under way when a
// node ends, which is far less.
const (
	keepMessages = 1 << 16
	keepBytes    = 64 << 20
	keepTick     = time.Second
)

func (b *Bridge) ensureKeeper(ctx context.Context) error {
	cfg := jetstream.ConsumerConfig{
		Durable:       keeper,
		Description:   "keeps alerts for the duplicate window",
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       b.opts.Duplicates + time.Minute, // what a node that ended held comes to another
		MaxDeliver:    -1,
		MaxAckPending: -1,
		HeadersOnly:   true,
		FilterSubject: subjectAlert + ">",
	}
	return b.ensureConsumerConfig(ctx, StreamAlert, cfg)
}

// Keep holds back alerts that all consumers have done, for the duplicate window
// or until they are too many, until ctx ends. Every node does it; they share the
// work. Without it, what Ensure has made keeps all.
func (b *Bridge) Keep(ctx context.Context) error {
	for {
		err := b.keep(ctx)
		if ctx.Err() != nil {
			return nil
		}
		b.log.Warn("cannot let alerts go, trying again", "error", err)
		if sleep(ctx, retryMax) != nil {
			return nil
		}
	}
}

// kept is one alert that is held back.
type kept struct {
	msg    jetstream.Msg
	seq    uint64
	stored time.Time
	bytes  int
}

func (b *Bridge) keep(ctx context.Context) error {
	c, err := b.js.Consumer(ctx, StreamAlert, keeper)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", keeper, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1024), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return fmt.Errorf("consumer %s: %w", keeper, err)
	}
	defer it.Stop()
	room := keepBytes
	if b.opts.MaxStore > 0 {
		// A stream that is full of what is done would keep out what is new.
		room = int(min(int64(room), b.opts.MaxStore/4))
	}
	var held []kept
	bytes := 0
	looked := time.Now()
	for {
		next, cancel := context.WithTimeout(ctx, keepTick)
		msg, err := it.Next(jetstream.NextContext(next))
		cancel()
		switch {
		case err == nil:
			k, err := keepOf(msg)
			if err != nil {
				return fmt.Errorf("consumer %s: %w", keeper, err)
			}
			held = append(held, k)
			bytes += k.bytes
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout):
			return fmt.Errorf("consumer %s: %w", keeper, err)
		}
		full := len(held) > keepMessages || bytes > room
		if !full && time.Since(looked) < keepTick {
			continue
		}
		looked = time.Now()
		n, freed := due(held, bytes, room, looked.Add(-b.opts.Duplicates))
		if n > 0 {
			last := held[0]
			for _, k := range held[:n] {
				if k.seq > last.seq {
					last = k
				}
			}
			// It stands for all before it.
			if err := last.msg.Ack(); err != nil {
				return fmt.Errorf("consumer %s: %w", keeper, err)
			}
			held, bytes = append([]kept(nil), held[n:]...), bytes-freed
		}
	}
}

// due is how many from the front are to be let go, and their bytes: those that
// were stored before the time, and where there is no room half of what there is
// room for.
func due(held []kept, bytes, room int, before time.Time) (n, freed int) {
	over := len(held) > keepMessages || bytes > room
	for n < len(held) {
		crowded := over && (len(held)-n > keepMessages/2 || bytes-freed > room/2)
		if !crowded && !held[n].stored.Before(before) {
			break
		}
		freed += held[n].bytes
		n++
	}
	return n, freed
}

func keepOf(msg jetstream.Msg) (kept, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return kept{}, err
	}
	k := kept{msg: msg, seq: meta.Sequence.Stream, stored: meta.Timestamp, bytes: headerRoom}
	var body int
	if _, err := fmt.Sscan(msg.Headers().Get("Nats-Msg-Size"), &body); err == nil {
		k.bytes += body
	}
	return k, nil
}
