package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucket is a key-value bucket of ours, laid out as the KV stores of NATS are,
// and named as one.
type bucket struct {
	b    *Bridge
	name string
}

// bucketEntry is a key as the server has it.
type bucketEntry struct {
	key      string
	value    []byte // nil where the key is not there or was deleted
	revision uint64
	stored   time.Time // by the server's clock
}

func (k bucket) stream() string { return "KV_" + k.name }
func (k bucket) prefix() string { return "$KV." + k.name + "." }

// config is the stream of a bucket. Without AllowDirect what is read is the
// leader's, and by the subjects that those who only look may use.
func (k bucket) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              k.stream(),
		Description:       "epmesh",
		Subjects:          []string{k.prefix() + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          k.b.opts.Replicas,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		MaxBytes:          -1,
		AllowMsgTTL:       true,
		AllowRollup:       true, // so that it counts as a KV store
		DenyDelete:        true,
	}
}

// ensure makes the bucket. What is not written for maxAge is forgotten; 0 keeps
// it.
func (k bucket) ensure(ctx context.Context, maxAge time.Duration) error {
	cfg := k.config()
	cfg.MaxAge = maxAge
	cfg.SubjectDeleteMarkerTTL = time.Minute // a watch is told of a key that expired
	return k.b.ensureConfig(ctx, "bucket "+k.name, cfg)
}

// put writes a key, whatever it held; it is forgotten after keep, 0 meaning that
// the bucket's age alone counts. A nil value deletes.
func (k bucket) put(ctx context.Context, key string, value []byte, keep time.Duration) error {
	_, err := k.write(ctx, key, value, keep)
	return err
}

// swap is put of a key that is still at the revision, 0 meaning that it is not
// there; ErrConflict where it has changed. After another error it may be stored.
func (k bucket) swap(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	return k.write(ctx, key, value, keep, jetstream.WithExpectLastSequencePerSubject(revision))
}

func (k bucket) write(ctx context.Context, key string, value []byte, keep time.Duration, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer context.AfterFunc(k.b.link.Load().ctx, cancel)() // no answer comes any more
	m := &nats.Msg{Subject: k.prefix() + key, Data: value}
	if value == nil {
		m.Header = nats.Header{"KV-Operation": {"DEL"}}
		keep = tombstoneFor
	}
	if keep > 0 {
		opts = append(opts, jetstream.WithMsgTTL(keep.Truncate(time.Second)))
	}
	ack, err := k.b.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
	if err == nil {
		return ack.Sequence, nil
	}
	if conflicts(err) {
		return 0, ErrConflict
	}
	return 0, fmt.Errorf("bucket %s: write %s: %w", k.name, key, err)
}

// conflicts reports whether a write was refused as the key had changed.
func conflicts(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func (k bucket) get(ctx context.Context, key string) (bucketEntry, error) {
	stream, err := k.b.js.Stream(ctx, k.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return bucketEntry{key: key}, nil // no node has made it yet
	}
	if err != nil {
		return bucketEntry{}, fmt.Errorf("bucket %s: %w", k.name, err)
	}
	return k.read(ctx, stream, key)
}

func (k bucket) read(ctx context.Context, stream jetstream.Stream, key string) (bucketEntry, error) {
	m, err := stream.GetLastMsgForSubject(ctx, k.prefix()+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return bucketEntry{key: key}, nil
	case err != nil:
		return bucketEntry{}, fmt.Errorf("bucket %s: read %s: %w", k.name, key, err)
	case gone(m.Header):
		return bucketEntry{key: key, revision: m.Sequence, stored: m.Time}, nil
	}
	return bucketEntry{key: key, value: m.Data, revision: m.Sequence, stored: m.Time}, nil
}

// gone reports whether a stored message says that its key is not there.
func gone(h nats.Header) bool {
	return h.Get(jetstream.MarkerReasonHeader) != "" || h.Get("KV-Operation") != ""
}

// list reads all keys below a prefix such as "live.", in no order. Deleted ones
// are left out. A bucket that no node has made yet has none.
func (k bucket) list(ctx context.Context, below string) ([]bucketEntry, error) {
	stream, err := k.b.js.Stream(ctx, k.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", k.name, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(k.prefix()+below+">"))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: list keys: %w", k.name, err)
	}
	var entries []bucketEntry
	for subject := range info.State.Subjects {
		e, err := k.read(ctx, stream, strings.TrimPrefix(subject, k.prefix()))
		if err != nil {
			return nil, err
		}
		if e.value != nil {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// watch calls seen for every key that one of the patterns names, as it is and for
// every change, and loaded once it has told of all that were there, until ctx ends
// or the watch breaks.
func (k bucket) watch(ctx context.Context, patterns []string, seen func(bucketEntry), loaded func()) error {
	kv, err := k.b.js.KeyValue(ctx, k.name)
	if err != nil {
		return fmt.Errorf("bucket %s: watch: %w", k.name, err)
	}
	w, err := kv.WatchFiltered(ctx, patterns)
	if err != nil {
		return fmt.Errorf("bucket %s: watch: %w", k.name, err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return ctx.Err() // the watch ends with it, and which is seen first is chance
			case !ok:
				return fmt.Errorf("bucket %s: watch: it was ended", k.name)
			case e == nil:
				loaded()
			case e.Operation() != jetstream.KeyValuePut:
				seen(bucketEntry{key: e.Key(), revision: e.Revision(), stored: e.Created()})
			default:
				seen(bucketEntry{key: e.Key(), value: e.Value(), revision: e.Revision(), stored: e.Created()})
			}
		}
	}
}
