package bridge

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// Holder is who holds a name.
type Holder struct {
	Name  string `json:"name"`
	Node  string `json:"node"`
	Epoch uint64 `json:"epoch"`
}

// Peer is a node that lives, and what it said that it offers.
type Peer struct {
	Node    string
	Session string
	Offers  []string
}

// Offer says that this node offers something, until withdraw is called; others
// see it in Peers.
func (l *Leases) Offer(what string) (withdraw func()) {
	l.change(func(offers []string) []string { return append(offers, what) })
	return sync.OnceFunc(func() {
		l.change(func(offers []string) []string {
			if i := slices.Index(offers, what); i >= 0 {
				offers = slices.Delete(offers, i, i+1)
			}
			return offers
		})
	})
}

func (l *Leases) change(how func([]string) []string) {
	l.mu.Lock()
	l.offers = how(slices.Clone(l.offers))
	l.mu.Unlock()
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// Peers are the nodes whose sessions live, as far as this node knows, sorted by
// name. It is among them once its own session is. ok is false as long as it does
// not know.
func (l *Leases) Peers() (peers []Peer, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, e := range l.view {
		if id, is := strings.CutPrefix(key, sessionPrefix); is && e.session != nil {
			peers = append(peers, Peer{Node: e.session.Node, Session: id, Offers: e.session.Offers})
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Node+"\x00"+a.Session, b.Node+"\x00"+b.Session) })
	return peers, l.loaded && l.session != nil
}

// Holders are the names that live sessions hold, as far as this node knows,
// sorted.
func (l *Leases) Holders() []Holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Holder
	for _, e := range l.view {
		if e.lease != nil && l.view[sessionPrefix+e.lease.Session].session != nil {
			list = append(list, Holder{e.lease.Name, e.lease.Node, e.revision})
		}
	}
	slices.SortFunc(list, func(a, b Holder) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Losses is how often this node lost all its leases, because it could not renew
// them in time, since the start.
func (l *Leases) Losses() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// apply notes a key as it was seen. What is asked for is newer than what was
// watched, and what is watched may come late.
func (l *Leases) apply(key string, data []byte, revision uint64, asked bool) {
	e := leaseEntry{revision: revision, seen: time.Now()}
	switch {
	case data == nil:
	case strings.HasPrefix(key, sessionPrefix):
		// One that cannot be read is a session all the same, and gets its time.
		e.session = new(sessionValue)
		_ = json.Unmarshal(data, e.session)
	case strings.HasPrefix(key, leasePrefix):
		e.lease = new(leaseValue)
		if json.Unmarshal(data, e.lease) != nil {
			e.lease = nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.view[key]
	if known && (revision == old.revision || revision < old.revision && !asked) {
		return
	}
	l.view[key] = e
	// A renewal alone is no news.
	if old.session == nil || e.session == nil || !slices.Equal(old.session.Offers, e.session.Offers) {
		l.notify()
	}
}

// refresh asks for a key.
func (l *Leases) refresh(ctx context.Context, key string) (leaseEntry, error) {
	bound, cancel := context.WithTimeout(ctx, l.opts.TTL/4)
	defer cancel()
	data, revision, err := l.store.get(bound, key)
	if err != nil {
		return leaseEntry{}, err
	}
	l.apply(key, data, revision, true)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view[key], nil
}

// watch follows all keys until ctx ends.
func (l *Leases) watch(ctx context.Context) {
	for ctx.Err() == nil {
		life, cancel := context.WithCancel(ctx)
		go l.checkWatch(life, cancel)
		err := l.store.watch(life, func(key string, data []byte, revision uint64) {
			l.apply(key, data, revision, false)
		}, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if !l.loaded {
				l.loaded = true
				l.notify()
			}
		})
		cancel()
		if ctx.Err() == nil {
			l.log.Debug("cannot watch leases, trying again", "error", err)
			_ = sleep(ctx, l.opts.TTL/20)
		}
	}
}

// checkWatch ends a watch in which our own renewals do not appear.
func (l *Leases) checkWatch(ctx context.Context, end context.CancelFunc) {
	for quiet := 0; quiet < 3; {
		if sleep(ctx, l.opts.TTL/2) != nil {
			return
		}
		l.mu.Lock()
		s := l.session
		late := s != nil && time.Since(l.view[s.key].seen) > l.opts.TTL/2
		l.mu.Unlock()
		if quiet++; !late {
			quiet = 0
		}
	}
	end()
}

// tend ends sessions that are silent, and releases what nobody here knows of,
// until ctx ends.
func (l *Leases) tend(ctx context.Context) {
	for sleep(ctx, l.opts.TTL/20) == nil {
		for key, e := range l.silent(time.Now()) {
			l.kill(ctx, key, e)
		}
		for key, revision := range l.stray() {
			l.drop(ctx, key, revision)
		}
	}
}

// silent are the sessions that were not renewed for their time, as they were
// seen.
func (l *Leases) silent(now time.Time) map[string]leaseEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return nil
	}
	keys := map[string]leaseEntry{}
	for key, e := range l.view {
		if e.lease != nil {
			// A session that cannot be seen gets its time like any other.
			if of := sessionPrefix + e.lease.Session; l.view[of] == (leaseEntry{}) {
				l.view[of] = leaseEntry{seen: now}
			}
			continue
		}
		if !strings.HasPrefix(key, sessionPrefix) || l.session != nil && key == l.session.key {
			continue
		}
		ttl := l.opts.TTL
		if e.session != nil && e.session.TTL > 0 {
			ttl = time.Duration(e.session.TTL) * time.Millisecond
		} else if e.session == nil && e.revision > 0 {
			continue // it has ended
		}
		if now.Sub(e.seen) >= ttl {
			keys[key] = e
		}
	}
	return keys
}

// kill ends a session that is still as it was when its time began: it cannot be
// renewed then.
func (l *Leases) kill(ctx context.Context, key string, e leaseEntry) {
	bound, cancel := context.WithTimeout(ctx, l.opts.TTL/4)
	defer cancel()
	revision, err := l.store.put(bound, key, nil, e.revision)
	if err != nil {
		_, _ = l.refresh(ctx, key)
		return
	}
	l.apply(key, nil, revision, false)
	if e.session != nil {
		l.log.Info("a node has been silent too long; what it held is free", "node", e.session.Node)
	}
}

// stray are the keys that name our session and are no lease of it.
func (l *Leases) stray() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := map[string]uint64{}
	for key, e := range l.view {
		if s := l.session; s != nil && e.lease != nil && e.lease.Session == s.id && !s.holds(key) {
			keys[key] = e.revision
		}
	}
	return keys
}
