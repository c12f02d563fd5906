package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How often the server has delivered a message says nothing of how often the
// work on it was begun and came to no end: a message also comes again when its
// plugin was away or a node was stopped. So the beginning of work on a message
// that has come before is written down, in a stream of its own, before the work,
// and crossed out at its end. What is left are the times that a node ended with
// it.

const (
	streamBegun  = "EPMESH_BEGUN"
	subjectBegun = "epmesh.begun."
	// begunFrom is the delivery from which on it is written down: the first
	// repetition is too common, and too likely harmless, to pay for.
	begunFrom = 3
	// maxBegun is how often work may be begun in vain.
	maxBegun = 5
	// begunFor is how long it is known.
	begunFor = 24 * time.Hour
)

func (b *Bridge) ensureBegun(ctx context.Context) error {
	return b.ensureConfig(ctx, "stream "+streamBegun, jetstream.StreamConfig{
		Name:              streamBegun,
		Description:       "epmesh",
		Subjects:          []string{subjectBegun + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          b.opts.Replicas,
		MaxMsgsPerSubject: 1,
		MaxAge:            begunFor,
	})
}

func (r *run) begunSubject(msg jetstream.Msg) string {
	seq := uint64(0)
	if meta, err := msg.Metadata(); err == nil {
		seq = meta.Sequence.Stream
	}
	return subjectBegun + r.name + "." + strconv.FormatUint(seq, 10)
}

// begin writes down that work on the message begins, and returns how often it
// has begun before and not ended.
func (r *run) begin(msg jetstream.Msg) (before int, err error) {
	subject := r.begunSubject(msg)
	stream, err := r.b.js.Stream(r.work, streamBegun)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", streamBegun, err)
	}
	last, err := stream.GetLastMsgForSubject(r.work, subject)
	switch {
	case err == nil:
		if before, err = strconv.Atoi(string(last.Data)); err != nil {
			return 0, fmt.Errorf("read %s: %w", subject, err)
		}
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, fmt.Errorf("read %s: %w", subject, err)
	}
	if before >= maxBegun {
		return before, nil
	}
	return before, r.b.store(r.work, &nats.Msg{Subject: subject, Data: []byte(strconv.Itoa(before + 1))})
}

// end crosses it out: the work came to an end, whichever.
func (r *run) end(msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(r.b.ctx, storeTimeout)
	defer cancel()
	stream, err := r.b.js.Stream(ctx, streamBegun)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(r.begunSubject(msg)))
	}
	if err != nil {
		r.b.log.Debug("cannot cross out that work began", "consumer", r.name, "error", err)
	}
}
