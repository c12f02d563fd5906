package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// SenderOptions bound an Input or a Notifier. The zero value is good for most.
type SenderOptions struct {
	// Name is the plugin's name, for its log.
	Name string
	// Dir is the work dir; empty means WorkDir.
	Dir string
	// Logger gets lost and regained connections; nil means JSON lines on
	// standard error.
	Logger hclog.Logger
	// Window is how many items may be on their way without an Ack; 0 means 4096.
	Window int
	// WindowBytes bounds the same in bytes; 0 means 16 MiB. One item may always
	// be on its way, however large.
	WindowBytes int
	// RetryMin and RetryMax bound the pause before the next attempt to reach
	// the node; 0 means 50 ms and 2 s. The pause doubles and is spread at random.
	RetryMin, RetryMax time.Duration
}

const (
	defaultWindow      = 4096
	defaultWindowBytes = 16 << 20
	defaultRetryMin    = 50 * time.Millisecond
	defaultRetryMax    = 2 * time.Second

	// maxSend is what one item may have: the node's gRPC server, like any with
	// default settings, breaks a stream on more, and with it everything else
	// that is on its way.
	maxSend = 4<<20 - 1024
)

// ErrClosed is returned by calls on an Input or a Notifier that was closed.
var ErrClosed = errors.New("closed")

// item is what can be sent: a *Log or a *Message.
type item interface {
	proto.Message
	GetId() string
}

// stream is the node's side of a call that takes items and answers Acks.
type stream[T item] interface {
	Send(T) error
	Recv() (*Ack, error)
	CloseSend() error
}

type entry[T item] struct {
	item   T
	size   int
	stored func()
}

// sender keeps items until the node has acked them, over as many connections as
// that takes. All items before the one that an Ack names are covered by it.
type sender[T item] struct {
	opts SenderOptions
	open func(context.Context, grpc.ClientConnInterface) (stream[T], error)
	conn *grpc.ClientConn
	log  hclog.Logger

	mu     sync.Mutex
	queue  []entry[T]        // not acked, oldest first
	ids    map[string]uint64 // of queue, by sequence
	first  uint64            // sequence of queue[0]
	sent   int               // how many of queue are sent on the current stream
	bytes  int
	closed bool
	change chan struct{} // closed and replaced when the queue shrinks or closes

	streaming atomic.Bool // a stream to the node is open

	wake   chan struct{} // there is something to send
	cancel context.CancelFunc
	done   chan struct{}
}

func newSender[T item](opts SenderOptions, open func(context.Context, grpc.ClientConnInterface) (stream[T], error)) (*sender[T], error) {
	opts.Window = cmp.Or(opts.Window, defaultWindow)
	opts.WindowBytes = cmp.Or(opts.WindowBytes, defaultWindowBytes)
	opts.RetryMin = cmp.Or(opts.RetryMin, defaultRetryMin)
	opts.RetryMax = max(opts.RetryMin, cmp.Or(opts.RetryMax, defaultRetryMax))
	if opts.Logger == nil {
		opts.Logger = NewLogger(opts.Name, nil)
	}
	socket, err := engineSocket(opts.Dir)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix://"+absolute(socket),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
		// gRPC's own pauses, a second and more, are made for networks: the node
		// is on this machine, and how often it is tried is ours to say.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: opts.RetryMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: opts.RetryMax},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to node: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &sender[T]{
		opts: opts, open: open, conn: conn, log: opts.Logger,
		ids: map[string]uint64{}, change: make(chan struct{}),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go s.run(ctx)
	return s, nil
}

// send takes the item into the window, waiting while that is full or holds an
// item of the same id. stored, if not nil, is called once the item is acked, in
// the order of sending, by one goroutine; it must not block.
func (s *sender[T]) send(ctx context.Context, it T, stored func()) error {
	size := proto.Size(it)
	if size > maxSend {
		return fmt.Errorf("%d bytes are more than the node takes at once (%d): cut it into parts", size, maxSend)
	}
	id := it.GetId()
	s.mu.Lock()
	for {
		if s.closed {
			s.mu.Unlock()
			return ErrClosed
		}
		_, twin := s.ids[id]
		if !twin && len(s.queue) < s.opts.Window && (len(s.queue) == 0 || s.bytes+size <= s.opts.WindowBytes) {
			break
		}
		change := s.change
		s.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	s.ids[id] = s.first + uint64(len(s.queue))
	s.queue = append(s.queue, entry[T]{item: it, size: size, stored: stored})
	s.bytes += size
	s.mu.Unlock()
	s.poke()
	return nil
}

// store sends and waits until the items are acked.
func (s *sender[T]) store(ctx context.Context, items ...T) error {
	if len(items) == 0 {
		return nil
	}
	stored := make(chan struct{})
	// An ack covers what was sent before it, and items go in order.
	last := len(items) - 1
	for _, it := range items[:last] {
		if err := s.send(ctx, it, nil); err != nil {
			return err
		}
	}
	if err := s.send(ctx, items[last], func() { close(stored) }); err != nil {
		return err
	}
	select {
	case <-stored:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		select {
		case <-stored:
			return nil
		default:
			return ErrClosed
		}
	}
}

// flush waits until everything sent before is acked.
func (s *sender[T]) flush(ctx context.Context) error {
	s.mu.Lock()
	end := s.first + uint64(len(s.queue))
	for s.first < end {
		if s.closed && s.stopped() {
			s.mu.Unlock()
			return ErrClosed
		}
		change, left := s.change, end-s.first
		s.mu.Unlock()
		select {
		case <-change:
		case <-s.done:
		case <-ctx.Done():
			return fmt.Errorf("%d not stored by the node: %w", left, ctx.Err())
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// close refuses new items, waits like flush, and lets the connection go.
func (s *sender[T]) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.changed()
	s.mu.Unlock()
	err := s.flush(ctx)
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	s.cancel()
	<-s.done
	return err
}

func (s *sender[T]) stopped() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// changed tells those who wait; the caller holds mu.
func (s *sender[T]) changed() {
	close(s.change)
	s.change = make(chan struct{})
}

func (s *sender[T]) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func newID() string { return uuid.NewString() }
