package plugins

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"
)

// run keeps a stream open until ctx ends.
func (s *sender[T]) run(ctx context.Context) {
	defer close(s.done)
	defer s.conn.Close()
	pause, lost := s.opts.RetryMin, false
	for ctx.Err() == nil {
		acks, err := s.pump(ctx, func() {
			if lost {
				s.log.Info("node takes items again")
				lost = false
			}
		})
		if ctx.Err() != nil {
			return
		}
		if acks > 0 {
			pause = s.opts.RetryMin
		}
		if !lost {
			s.log.Warn("no connection to the node, trying again", "error", err, "waiting", s.waiting())
			lost = true
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, s.opts.RetryMax)
	}
}

func (s *sender[T]) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// pump opens one stream, sends everything that is not acked, then what comes,
// until the stream breaks or ctx ends. It returns how many acks came.
func (s *sender[T]) pump(ctx context.Context, works func()) (acks int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := s.open(ctx, s.conn)
	if err != nil {
		return 0, err
	}
	s.streaming.Store(true)
	defer s.streaming.Store(false)
	s.mu.Lock()
	s.sent = 0
	s.mu.Unlock()

	var readErr error
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer cancel()
		for {
			ack, err := st.Recv()
			if err != nil {
				readErr = err
				return
			}
			acks++
			if acks == 1 {
				works()
			}
			s.acked(ack.GetLastId())
		}
	}()
	for {
		if batch := s.unsent(); len(batch) > 0 {
			for _, it := range batch {
				if err = st.Send(it); err != nil {
					break
				}
			}
			if err == nil {
				continue
			}
		} else {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
			}
		}
		break
	}
	cancel()
	<-reading
	// A failed Send says only io.EOF; what went wrong is what Recv said.
	if err == nil || errors.Is(err, io.EOF) {
		err = readErr
	}
	return acks, err
}

// unsent takes up to a hundred items that were not sent on this stream yet.
func (s *sender[T]) unsent() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue)-s.sent, 100)
	if n <= 0 {
		return nil
	}
	batch := make([]T, n)
	for i, e := range s.queue[s.sent : s.sent+n] {
		batch[i] = e.item
	}
	s.sent += n
	return batch
}

// acked lets go of everything up to the item with this id. An id that is not on
// its way, or was not sent on this stream, says nothing.
func (s *sender[T]) acked(id string) {
	s.mu.Lock()
	seq, ok := s.ids[id]
	n := int(seq-s.first) + 1
	if !ok || n > s.sent {
		s.mu.Unlock()
		return
	}
	var stored []func()
	for i := range n {
		e := &s.queue[i]
		delete(s.ids, e.item.GetId())
		s.bytes -= e.size
		if e.stored != nil {
			stored = append(stored, e.stored)
		}
	}
	clear(s.queue[:n])
	s.queue = s.queue[n:]
	s.first += uint64(n)
	s.sent -= n
	s.mu.Unlock()

	// Before those who flush are told: what stored does is then done.
	for _, f := range stored {
		f()
	}
	s.mu.Lock()
	s.changed()
	s.mu.Unlock()
}
