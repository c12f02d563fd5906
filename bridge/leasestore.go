package bridge

import (
	"context"
	"fmt"
	"time"
)

const (
	// LeaseBucket keeps sessions and leases.
	LeaseBucket = "EPMESH_LEASE"
	// tombstoneFor is how long it is kept that a key was deleted.
	tombstoneFor = time.Hour
)

// leaseStore is what leases need of a key-value store. A revision is greater
// than all given before; 0 stands for a key that is not there.
type leaseStore interface {
	// put writes a key that is still at the revision, and returns its new one;
	// ErrConflict where it has changed. A nil value deletes. After another error
	// it may have been stored, or be stored later.
	put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// get reads a key: a nil value where it is not there or was deleted.
	get(ctx context.Context, key string) ([]byte, uint64, error)
	// watch calls seen for every session and lease as it is, loaded once after that, and seen
	// for every change, until ctx ends or it breaks.
	watch(ctx context.Context, seen func(key string, value []byte, revision uint64), loaded func()) error
}

// leases is the bucket that sessions and leases are in.
func (b *Bridge) leases() bucket { return bucket{b, LeaseBucket} }

// ensureLeases makes the bucket. Nothing in it expires by age: what is deleted is
// forgotten after tombstoneFor.
func (b *Bridge) ensureLeases(ctx context.Context) error {
	cfg := b.leases().config()
	cfg.AllowDirect = b.opts.Replicas <= 1 // as with the state
	return b.ensureConfig(ctx, "bucket "+LeaseBucket, cfg)
}

type natsLeases struct{ bucket }

func (n natsLeases) put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return n.swap(ctx, key, value, revision, 0)
}

func (n natsLeases) get(ctx context.Context, key string) ([]byte, uint64, error) {
	stream, err := n.b.js.Stream(ctx, n.stream())
	if err != nil {
		return nil, 0, fmt.Errorf("bucket %s: %w", n.name, err)
	}
	e, err := n.read(ctx, stream, key)
	return e.value, e.revision, err
}

func (n natsLeases) watch(ctx context.Context, seen func(key string, value []byte, revision uint64), loaded func()) error {
	return n.bucket.watch(ctx, []string{sessionPrefix + ">", leasePrefix + ">"}, func(e bucketEntry) { seen(e.key, e.value, e.revision) }, loaded)
}
