package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A node that holds leases writes a key of its own, its session, again and
// again. Whoever wants a name that another session holds watches that session's
// key. When it has not changed for its time to live, counted on the watcher's
// own monotonic clock from when the watcher saw it, the watcher ends the session
// by a write that holds only if the key is still as it was seen. After that the
// session cannot be renewed, and its leases are free.
//
// The holder counts the same time from before it sent its last renewal. That is
// earlier than anybody can have seen it, so the holder knows itself expired
// first. No clock is compared with another's, and no wall clock matters. Expiry
// in the server would go by its wall clock, so keys that are held have none.

// LeaseOptions are the times of leases. What is zero takes its default.
type LeaseOptions struct {
	// TTL is how long after its last renewal a silent node's leases are kept
	// from others; 6s.
	TTL time.Duration
	// Margin is how much earlier the node itself takes them for lost; TTL/12. It
	// is for clocks of different speed, and for what is done between a look at
	// the lease and its effect.
	Margin time.Duration
}

const (
	leaseTTL      = 6 * time.Second
	leasePrefix   = "lease."
	sessionPrefix = "session."
)

// sessionValue is what a session's key holds.
type sessionValue struct {
	Node   string   `json:"node"`
	TTL    int64    `json:"ttl"` // milliseconds
	Count  uint64   `json:"n"`   // of its writes
	Offers []string `json:"offers,omitempty"`
}

// leaseValue is what a lease's key holds.
type leaseValue struct {
	Name    string `json:"name"`
	Node    string `json:"node"`
	Session string `json:"session"`
	Try     string `json:"try"` // of the write, so that its writer knows it again
}

// leaseEntry is a key as it was last seen.
type leaseEntry struct {
	revision uint64
	seen     time.Time     // monotonic: when this revision was first seen
	session  *sessionValue // one of the two, or none where the key was deleted
	lease    *leaseValue
}

// Leases are the names that this node holds, and what it knows of those that
// others hold. Its methods are safe for concurrent use.
type Leases struct {
	store leaseStore
	node  string
	opts  LeaseOptions
	log   hclog.Logger
	poked chan struct{} // renew soon

	mu      sync.Mutex
	view    map[string]leaseEntry
	loaded  bool
	session *session // nil while there is none
	offers  []string
	changed chan struct{}
	lost    int64
}

// Leases makes this node's leases; Serve keeps them.
func (b *Bridge) Leases(o LeaseOptions) *Leases {
	return newLeases(natsLeases{b.leases()}, b.opts.Name, o, b.log.Named("lease"))
}

func newLeases(store leaseStore, node string, o LeaseOptions, log hclog.Logger) *Leases {
	if o.TTL <= 0 {
		o.TTL = leaseTTL
	}
	if o.Margin <= 0 {
		o.Margin = o.TTL / 12
	}
	return &Leases{
		store: store, node: node, opts: o, log: log,
		poked: make(chan struct{}, 1), view: map[string]leaseEntry{}, changed: make(chan struct{}),
	}
}

func (l *Leases) String() string { return "leases" }

// TTL is how long the leases of a node that says nothing are kept from others.
func (l *Leases) TTL() time.Duration { return l.opts.TTL }

// Serve keeps what Acquire has taken until ctx ends, then gives all up. Only
// while it runs does Acquire return.
func (l *Leases) Serve(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { l.watch(ctx) })
	parts.Go(func() { l.tend(ctx) })
	for ctx.Err() == nil {
		if err := l.serveSession(ctx); err != nil && ctx.Err() == nil {
			l.log.Debug("no session", "error", err)
			_ = sleep(ctx, l.opts.TTL/20)
		}
	}
	parts.Wait()
	return nil
}

// serveSession runs one session until it is lost or ctx ends.
func (l *Leases) serveSession(ctx context.Context) error {
	s := l.newSession(rand.Text())
	defer s.finish()
	if err := s.renew(ctx); err != nil {
		return err
	}
	l.setSession(s)
	defer l.setSession(nil)
	for wait := l.opts.TTL / 6; ; {
		select {
		case <-ctx.Done():
			s.finish() // before others can know
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.opts.TTL/6)
			defer cancel()
			if _, err := l.store.put(end, s.key, nil, s.revision); err != nil {
				l.log.Debug("cannot end the session; its leases are free after their time", "error", err)
			}
			return nil
		case <-s.ctx.Done():
		case <-l.poked:
		case <-time.After(wait):
		}
		err := s.renew(ctx)
		if s.ctx.Err() != nil {
			l.count(func() { l.lost++ })
			l.log.Warn("leases lost: they could not be renewed in time", "error", err)
			return nil
		}
		if wait = l.opts.TTL / 6; err != nil {
			wait = l.opts.TTL / 60
		}
	}
}

// renew writes the session's key. An attempt whose answer did not come may have
// been stored: the next one finds out.
func (s *session) renew(ctx context.Context) error {
	l := s.l
	s.count++
	s.sent[s.count] = time.Now()
	l.mu.Lock()
	value := sessionValue{Node: l.node, TTL: l.opts.TTL.Milliseconds(), Count: s.count, Offers: l.offers}
	l.mu.Unlock()
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write lease session: %w", err)
	}
	try, cancel := context.WithTimeout(ctx, l.opts.TTL/4)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	revision, err := l.store.put(try, s.key, data, s.revision)
	count := s.count
	if errors.Is(err, ErrConflict) {
		var found sessionValue
		if data, revision, err = l.store.get(try, s.key); err == nil {
			if data == nil || json.Unmarshal(data, &found) != nil {
				s.finish()
				return errors.New("renew leases: another node ended the session")
			}
			count = found.Count
		}
	}
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	s.revision = revision
	if sent, ok := s.sent[count]; ok {
		s.extend(sent)
	}
	for n := range s.sent {
		if n <= count {
			delete(s.sent, n)
		}
	}
	return nil
}

func (l *Leases) setSession(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
	l.notify()
}

func (l *Leases) count(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// notify tells all who wait. The lock is held.
func (l *Leases) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Changes gives a channel that is closed at the next change of who holds what,
// of which nodes there are and what they offer.
func (l *Leases) Changes() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Acquire waits until the name is this node's, or ctx ends. A name that this
// node holds already is waited for like one of another's.
func (l *Leases) Acquire(ctx context.Context, name string) (*Lease, error) {
	for {
		changed := l.Changes()
		if lease := l.try(ctx, name); lease != nil {
			return lease, nil
		}
		wait, cancel := context.WithTimeout(ctx, l.opts.TTL/6)
		select {
		case <-changed:
		case <-wait.Done():
		}
		cancel()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("acquire lease %s: %w", name, ctx.Err())
		}
	}
}

// try takes the name if nobody has it.
func (l *Leases) try(ctx context.Context, name string) *Lease {
	key := leasePrefix + stateToken(name)
	l.mu.Lock()
	s, e := l.session, l.view[key]
	free := l.loaded && s != nil && l.free(e)
	l.mu.Unlock()
	if !free || !s.valid() || !s.take(key) {
		return nil
	}
	attempt := rand.Text()
	data, err := json.Marshal(leaseValue{Name: name, Node: l.node, Session: s.id, Try: attempt})
	if err != nil {
		return s.took(key, name, 0)
	}
	bound, cancel := context.WithTimeout(ctx, l.opts.TTL/4)
	defer cancel()
	epoch, err := l.store.put(bound, key, data, e.revision)
	if err != nil {
		// What we know of the key is old, or the answer did not come.
		epoch = 0
		e, err = l.refresh(ctx, key)
		if err == nil && e.lease != nil && e.lease.Try == attempt {
			epoch = e.revision
		}
	}
	return s.took(key, name, epoch)
}

// free reports whether a lease's key may be taken. What our own session has and
// nobody here knows of is left of an attempt whose answer did not come. The lock
// is held.
func (l *Leases) free(e leaseEntry) bool {
	if e.lease == nil || l.session != nil && e.lease.Session == l.session.id {
		return true
	}
	s := l.view[sessionPrefix+e.lease.Session]
	return s.session == nil && s.revision > 0
}

// drop deletes a lease's key, once and if it is still as it was.
func (l *Leases) drop(ctx context.Context, key string, revision uint64) {
	bound, cancel := context.WithTimeout(ctx, l.opts.TTL/4)
	defer cancel()
	if _, err := l.store.put(bound, key, nil, revision); err != nil {
		l.log.Debug("cannot release, trying again", "lease", strings.TrimPrefix(key, leasePrefix), "error", err)
	}
}
