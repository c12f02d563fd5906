package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/epmesh/epmesh/node/wire"
)

// stream is one call of Input or Notify. Three kinds of goroutine share it: the
// receiver, up to Window workers, and the one that gRPC started, which sends
// the Acks.
type stream struct {
	*run
	grpc  grpc.ServerStream
	count *counters

	wake chan struct{} // holds one: there is something for the acker to look at

	mu      sync.Mutex
	queue   []*batch // in order of arrival, up to the ones whose Ack is due
	given   int      // queue[:given] were given to workers
	workers int
	closed  bool  // nothing more is taken
	recvErr error // why; nil where the server stops
	broken  error // a batch could not be stored: what follows it is not acked
	due     string
	isDue   bool
}

// serve runs the stream until its sender is done or gone, or the server stops,
// and all that was taken is stored.
func (r *run) serve(gs grpc.ServerStream, c *counters, take func(frame []byte, now time.Time) entry) error {
	s := &stream{run: r, grpc: gs, count: c, wake: make(chan struct{}, 1)}
	c.streams.Add(1)
	defer c.streams.Add(-1)
	// RecvMsg returns only after this function has, so the receiver cannot be
	// waited for here; the server does it when it stops.
	r.receivers.Go(func() { s.receive(take) })
	return s.ack()
}

// receive takes frames until the stream ends.
func (s *stream) receive(take func([]byte, time.Time) entry) {
	for {
		var f wire.Frame
		if err := s.grpc.RecvMsg(&f); err != nil {
			s.close(err)
			return
		}
		weight := min(int64(len(f.Bytes))+overhead, s.maxBuffered)
		if err := s.room.Acquire(s.grpc.Context(), weight); err != nil {
			s.close(err)
			return
		}
		if !s.add(take(f.Bytes, time.Now()), weight, len(f.Bytes)) {
			s.room.Release(weight)
			return
		}
	}
}

// add puts an entry on the queue and sees to it that a worker comes for it. It
// reports false where the stream is closed.
func (s *stream) add(e entry, weight int64, size int) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.count.received.Add(1)
	s.count.bytes.Add(uint64(size))
	n := len(s.queue)
	if n == s.given || s.queue[n-1].full() {
		s.queue = append(s.queue, &batch{})
		n++
	}
	s.queue[n-1].add(e, weight)
	start := s.workers < s.window
	if start {
		s.workers++
	}
	s.mu.Unlock()
	if start {
		go s.work()
	}
	return true
}

// work stores batches until none waits.
func (s *stream) work() {
	s.mu.Lock()
	for s.given < len(s.queue) {
		b := s.queue[s.given]
		s.given++
		broken := s.broken
		s.mu.Unlock()
		err := broken
		if err == nil {
			err = s.store(s.count, b)
		} else {
			s.abandon(s.count, b.len())
		}
		s.room.Release(b.weight)
		s.mu.Lock()
		b.done = true
		if err != nil && s.broken == nil {
			s.broken = err
		}
		s.advance()
	}
	s.workers--
	s.mu.Unlock()
	s.signal()
}

// advance takes the batches off the queue that are done, and makes their Ack
// due. It is called with the lock held, and gives it up while it counts.
func (s *stream) advance() {
	var finished []*batch
	for len(s.queue) > 0 && s.queue[0].done {
		b := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.given--
		if s.broken == nil {
			s.due, s.isDue = string(b.lastID), true
			finished = append(finished, b)
		}
	}
	if len(finished) == 0 {
		return
	}
	s.mu.Unlock()
	s.signal()
	now := time.Now().UnixNano()
	for _, b := range finished {
		for i := range b.items {
			s.count.latency.Observe(time.Duration(now - b.items[i].Received))
		}
		for i := range b.refused {
			s.count.latency.Observe(time.Duration(now - b.refused[i].Received))
		}
	}
	s.mu.Lock()
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close ends the taking.
func (s *stream) close(err error) {
	s.mu.Lock()
	if !s.closed {
		s.closed, s.recvErr = true, err
	}
	s.mu.Unlock()
	s.signal()
}

// ack sends the Acks that are due, the last one for all where more became due
// meanwhile. It returns the stream's status when nothing is left to do.
func (s *stream) ack() error {
	stopping := s.stopping
	gone := false // the sender reads no more Acks
	for {
		select {
		case <-s.wake:
		case <-stopping:
			stopping = nil
			s.close(nil)
		}
		s.mu.Lock()
		id, due := s.due, s.isDue
		s.isDue = false
		ended := s.closed && s.workers == 0 && len(s.queue) == 0
		err, broken := s.recvErr, s.broken
		s.mu.Unlock()
		if due && !gone {
			ack := wire.AppendTexts(nil, wire.Text{Number: wire.AckLastID, Value: id})
			if s.grpc.SendMsg(&wire.Frame{Bytes: ack}) != nil {
				gone = true
			} else {
				s.count.acks.Add(1)
			}
		}
		if ended {
			return s.status(err, broken)
		}
	}
}

// status is what the sender is told at the end. It is OK only for a sender that
// closed the stream itself: official SDK plugins take an end whose text has
// "EOF" in it for a wanted one, and would never connect again.
func (s *stream) status(received, broken error) error {
	switch {
	case broken != nil:
		return status.Error(codes.Unavailable, "the node stopped before all logs were stored: send again what was not acked")
	case received == nil:
		return status.Error(codes.Unavailable, "the node is stopping")
	case received == io.EOF:
		return nil
	case errors.Is(received, context.Canceled), errors.Is(received, context.DeadlineExceeded):
		return status.FromContextError(received).Err()
	}
	return received
}
