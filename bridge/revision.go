package bridge

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ConfigBucket keeps revisions of the configuration for all nodes. They may
	// hold secrets of plugins: users of plugins must not read it.
	ConfigBucket = "EPMESH_CONFIG"
	// MaxRevision bounds a revision's content in bytes, and maxStored what is left
	// of it when it is compressed.
	MaxRevision = 32 << 20
	maxStored   = 16 << 20
	// RevisionsKept is how many revisions can be gone back to.
	RevisionsKept = 50

	currentKey     = "current"
	revisionPrefix = "revision."
	chunkPrefix    = "chunk."
	chunkSize      = 256 << 10
	// A push that is under way has written chunks that no revision names yet.
	chunkRest = 10 * time.Minute

	maxRevisionText = 1 << 10
)

// ErrNoRevision says that there is no such revision, or none any more.
var ErrNoRevision = errors.New("there is no such revision")

// Revision describes one state of the configuration.
type Revision struct {
	Number uint64 `json:"number"` // from 1, each one higher than its parent's
	// ID tells it from another that was pushed at the same time.
	ID       string    `json:"id"`
	Parent   uint64    `json:"parent"` // 0: the first
	ParentID string    `json:"parentID,omitempty"`
	Author   string    `json:"author"`
	Time     time.Time `json:"time"` // by the author's clock
	Message  string    `json:"message,omitempty"`
	// Restores is the older revision whose content this one has; 0: it is new.
	Restores uint64 `json:"restores,omitempty"`
	SHA256   string `json:"sha256"` // of the content
	Size     int    `json:"size"`   // of the content in bytes
	Stored   int    `json:"stored"` // of the content, compressed
	// Chunks are the sums of the pieces in which it is stored.
	Chunks []string `json:"chunks"`

	at uint64 // the bucket's revision of the pointer to it
}

// Label names a revision for people.
func (r Revision) Label() string { return fmt.Sprintf("revision %d of %s", r.Number, r.Author) }

func (b *Bridge) configs() bucket { return bucket{b, ConfigBucket} }

func (b *Bridge) ensureConfigs(ctx context.Context) error { return b.configs().ensure(ctx, 0) }

// CurrentRevision is the one that nodes are to run; its Number is 0 where none
// was ever pushed.
func (b *Bridge) CurrentRevision(ctx context.Context) (Revision, error) {
	e, err := b.configs().get(ctx, currentKey)
	if err != nil {
		return Revision{}, err
	}
	return revisionOf(e)
}

func revisionOf(e bucketEntry) (Revision, error) {
	r := Revision{at: e.revision}
	if e.value == nil {
		return r, nil
	}
	if err := json.Unmarshal(e.value, &r); err != nil {
		return r, fmt.Errorf("bucket %s: %s is no revision: %w; is it of a newer epmesh?", ConfigBucket, e.key, err)
	}
	return r, nil
}

// PushRevision stores content as the revision after base, which is what
// CurrentRevision gave. Of next it takes Author, Message, Time and Restores.
// ErrConflict means that another was pushed after base; then nothing has changed
// for any node. Nodes see either the whole new revision or the old one.
func (b *Bridge) PushRevision(ctx context.Context, base, next Revision, content []byte) (Revision, error) {
	// Where a node has made the bucket, it is as the node's settings say.
	if _, err := b.js.Stream(ctx, b.configs().stream()); errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := b.ensureConfigs(ctx); err != nil {
			return Revision{}, err
		}
	}
	if len(content) > MaxRevision {
		return Revision{}, fmt.Errorf("push revision: %d bytes, and at most %d can be pushed: take out what is not configuration", len(content), MaxRevision)
	}
	sum := sha256.Sum256(content)
	next.Number, next.Parent, next.ParentID, next.ID = base.Number+1, base.Number, base.ID, rand.Text()
	next.Author, next.Message = shorten(next.Author, maxRevisionText), shorten(next.Message, maxRevisionText)
	next.SHA256, next.Size = hex.EncodeToString(sum[:]), len(content)
	if err := b.storeContent(ctx, &next, content); err != nil {
		return Revision{}, err
	}
	data, err := json.Marshal(next)
	if err != nil {
		return Revision{}, fmt.Errorf("push revision: %w", err)
	}
	if err := b.configs().put(ctx, next.key(), data, 0); err != nil {
		return Revision{}, err
	}
	at, err := b.configs().swap(ctx, currentKey, data, base.at, 0)
	if err != nil {
		// A write whose answer did not come may have been stored.
		now, readErr := b.CurrentRevision(ctx)
		if readErr != nil || now.ID != next.ID {
			return now, err
		}
		at = now.at
	}
	next.at = at
	if err := b.forgetRevisions(ctx, next); err != nil {
		b.log.Debug("old revisions are not removed; the next push does it", "error", err)
	}
	return next, nil
}

func (r Revision) key() string { return revisionPrefix + strconv.FormatUint(r.Number, 10) + "." + r.ID }

// storeContent writes the content's chunks, each under its own sum.
func (b *Bridge) storeContent(ctx context.Context, r *Revision, content []byte) error {
	var stored bytes.Buffer
	w := gzip.NewWriter(&stored)
	_, err := w.Write(content)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("push revision: %w", err)
	}
	if r.Stored = stored.Len(); r.Stored > maxStored {
		return fmt.Errorf("push revision: %d bytes compressed, and at most %d can be stored: take out what is not configuration", r.Stored, maxStored)
	}
	r.Chunks = nil
	for chunk := range slices.Chunk(stored.Bytes(), min(chunkSize, b.maxPayload-headerRoom)) {
		sum := sha256.Sum256(chunk)
		name := hex.EncodeToString(sum[:])
		if err := b.configs().put(ctx, chunkPrefix+name, chunk, 0); err != nil {
			return err
		}
		r.Chunks = append(r.Chunks, name)
	}
	return nil
}

// RevisionContent reads a revision's content and holds it against its sum.
func (b *Bridge) RevisionContent(ctx context.Context, r Revision) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("read revision %d: %w", r.Number, err) }
	if r.Size > MaxRevision || r.Stored > maxStored {
		return fail(fmt.Errorf("its %d bytes are more than this version takes", r.Size))
	}
	stored := make([]byte, 0, r.Stored)
	for _, name := range r.Chunks {
		e, err := b.configs().get(ctx, chunkPrefix+name)
		if err != nil {
			return fail(err)
		}
		if e.value == nil {
			return fail(fmt.Errorf("a part of it is not there any more: %w", ErrNoRevision))
		}
		if sum := sha256.Sum256(e.value); hex.EncodeToString(sum[:]) != name {
			return fail(errors.New("a part of it is not what was pushed"))
		}
		if stored = append(stored, e.value...); len(stored) > r.Stored {
			return fail(errors.New("it is longer than what was pushed"))
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		return fail(err)
	}
	content, err := io.ReadAll(io.LimitReader(z, int64(r.Size)+1))
	if err != nil {
		return fail(err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != r.SHA256 {
		return fail(errors.New("it is not what was pushed: its sum differs"))
	}
	return content, nil
}

// Revisions are the current one and those before it that are kept, newest first.
func (b *Bridge) Revisions(ctx context.Context) ([]Revision, error) {
	current, err := b.CurrentRevision(ctx)
	if err != nil || current.Number == 0 {
		return nil, err
	}
	entries, err := b.configs().list(ctx, revisionPrefix)
	if err != nil {
		return nil, err
	}
	byID := map[string]Revision{}
	for _, e := range entries {
		if r, err := revisionOf(e); err == nil {
			byID[r.ID] = r
		}
	}
	list := []Revision{current}
	// Pushes that lost against another are not among the ancestors.
	for r, ok := byID[current.ParentID]; ok && len(list) < RevisionsKept; r, ok = byID[r.ParentID] {
		list = append(list, r)
	}
	return list, nil
}

// Revision finds one of Revisions by its number.
func (b *Bridge) Revision(ctx context.Context, number uint64) (Revision, error) {
	list, err := b.Revisions(ctx)
	if err != nil {
		return Revision{}, err
	}
	for _, r := range list {
		if r.Number == number {
			return r, nil
		}
	}
	if len(list) == 0 {
		return Revision{}, fmt.Errorf("revision %d: %w: nothing has been pushed yet", number, ErrNoRevision)
	}
	return Revision{}, fmt.Errorf("revision %d: %w: there are %d to %d", number, ErrNoRevision, list[len(list)-1].Number, list[0].Number)
}

// forgetRevisions deletes what lies behind RevisionsKept, and what pushes that
// lost or broke off left behind.
func (b *Bridge) forgetRevisions(ctx context.Context, current Revision) error {
	kept, err := b.Revisions(ctx)
	if err != nil || len(kept) == 0 || kept[0].ID != current.ID {
		return err // another push is the newest already, and will do it
	}
	wanted := map[string]bool{}
	for _, r := range kept {
		wanted[r.key()] = true
		for _, c := range r.Chunks {
			wanted[chunkPrefix+c] = true
		}
	}
	keys, err := b.configs().list(ctx, revisionPrefix)
	if err != nil {
		return err
	}
	chunks, err := b.configs().list(ctx, chunkPrefix)
	if err != nil {
		return err
	}
	// The server's clock is compared with itself.
	now := slices.MaxFunc(append(keys, chunks...), func(a, b bucketEntry) int { return cmp.Compare(a.stored.UnixNano(), b.stored.UnixNano()) }).stored
	for _, e := range append(keys, chunks...) {
		if wanted[e.key] || now.Sub(e.stored) < chunkRest {
			continue
		}
		// Another push may need it and have written it anew since.
		if _, err := b.configs().swap(ctx, e.key, nil, e.revision, 0); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// WatchRevision calls seen with the current revision, once there is one, and
// with each that follows. It returns when ctx ends, or with an error when the
// watch breaks; then the caller begins again. Calls come one after the other.
func (b *Bridge) WatchRevision(ctx context.Context, seen func(Revision)) error {
	var broken error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := b.configs().watch(ctx, []string{currentKey}, func(e bucketEntry) {
		r, err := revisionOf(e)
		if err != nil {
			broken = err
			stop()
		} else if r.Number > 0 {
			seen(r)
		}
	}, func() {})
	if broken != nil {
		return broken
	}
	return err
}
