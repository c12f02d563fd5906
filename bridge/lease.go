package bridge

import (
	"context"
	"sync"
	"time"
)

// Lease is one tenure of a name that one node at a time may hold. Its methods
// are safe for concurrent use.
type Lease struct {
	name  string
	key   string
	epoch uint64
	s     *session

	ctx context.Context
	end context.CancelFunc
}

// Name is what is held.
func (l *Lease) Name() string { return l.name }

// Epoch is the fencing token: it is greater than that of every tenure of the
// name before. Who is given something under two epochs refuses the lower one.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Context ends before another can hold the name, or when the lease is released.
// A process that was stopped may see it late; Valid sees that at once.
func (l *Lease) Context() context.Context { return l.ctx }

// Valid reports whether the name is held now. It goes by the monotonic clock,
// which has gone on while the process was stopped.
func (l *Lease) Valid() bool { return l.ctx.Err() == nil && l.s.valid() }

// Until is when the lease ends if it is not renewed until then. It is renewed
// all the time, so the next look may give more.
func (l *Lease) Until() time.Time { return l.s.validUntil() }

// Before gives a context that ends that much earlier than Context would: time
// to bring what is done under the lease to its end.
func (l *Lease) Before(lead time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(l.ctx)
	go func() {
		for {
			left := time.Until(l.s.validUntil()) - lead
			if left <= 0 {
				cancel()
				return
			}
			if sleep(ctx, left) != nil {
				return
			}
		}
	}()
	return ctx, cancel
}

// Release gives the name up, so that another can hold it at once. What was done
// under the lease has ended before. Where the server cannot be told, that is
// done later. It takes no longer than a part of the lease's time, whether or not
// ctx has ended.
func (l *Lease) Release(ctx context.Context) { l.s.release(context.WithoutCancel(ctx), l) }

// session is the time from a node's first renewal to the one that came too
// late. All leases of a node are bound to its session, so that holding many
// costs no more than holding one.
type session struct {
	l     *Leases
	id    string
	key   string
	ctx   context.Context // ends with the session
	close context.CancelFunc

	mu    sync.Mutex
	until time.Time // monotonic: before it, nobody has taken anything from us
	timer *time.Timer
	held  map[string]*Lease // by key; nil while it is being taken

	// Of the goroutine that renews alone.
	revision uint64
	count    uint64
	sent     map[uint64]time.Time // renewals without an answer, by their count
}

func (l *Leases) newSession(id string) *session {
	s := &session{l: l, id: id, key: sessionPrefix + id, held: map[string]*Lease{}, sent: map[uint64]time.Time{}}
	s.ctx, s.close = context.WithCancel(context.Background())
	return s
}

func (s *session) validUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

func (s *session) valid() bool {
	return s.ctx.Err() == nil && time.Now().Before(s.validUntil())
}

// extend counts from before the renewal was sent: when others saw it is not
// known, but it was later.
func (s *session) extend(sent time.Time) {
	until := sent.Add(s.l.opts.TTL - s.l.opts.Margin)
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.Before(s.until) {
		return
	}
	s.until = until
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(until), s.expire)
	} else {
		s.timer.Reset(time.Until(until))
	}
}

// expire ends the session unless it was renewed meanwhile.
func (s *session) expire() {
	s.mu.Lock()
	late := !time.Now().Before(s.until)
	s.mu.Unlock()
	if late {
		s.finish()
	}
}

// finish ends all leases of the session.
func (s *session) finish() {
	s.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	for key, lease := range s.held {
		if lease != nil {
			lease.end()
		}
		delete(s.held, key)
	}
}

// take marks a name as being taken; false where this node has it already.
func (s *session) take(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[key]; ok || s.ctx.Err() != nil {
		return false
	}
	s.held[key] = nil
	return true
}

// took ends what take began. It gives no lease where the session has ended.
func (s *session) took(key, name string, epoch uint64) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, key)
	if epoch == 0 || s.ctx.Err() != nil || !time.Now().Before(s.until) {
		return nil
	}
	lease := &Lease{name: name, key: key, epoch: epoch, s: s}
	lease.ctx, lease.end = context.WithCancel(s.ctx)
	s.held[key] = lease
	return lease
}

func (s *session) holds(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.held[key]
	return ok
}

func (s *session) release(ctx context.Context, lease *Lease) {
	lease.end()
	s.mu.Lock()
	mine := s.held[lease.key] == lease
	if mine {
		// Nobody of this node takes it before the server was told.
		s.held[lease.key] = nil
	}
	s.mu.Unlock()
	if !mine {
		return
	}
	s.l.drop(ctx, lease.key, lease.epoch)
	s.mu.Lock()
	delete(s.held, lease.key)
	s.mu.Unlock()
}
