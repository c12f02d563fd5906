package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrConflict is what a write returns whose key is not as the writer saw it: it
// reads it again and decides anew.
var ErrConflict = errors.New("the key was changed by another")

// StateOptions open a State.
type StateOptions struct {
	// Name is who uses it, for the server's list of connections.
	Name string
	// Scope is put before all keys, so that users of the same bucket do not see
	// each other's.
	Scope string
	// Access tells how to connect. It is asked again whenever a connection is
	// lost: a node that starts anew has another password, and maybe another port.
	Access func() (StateAccess, error)
	Logger hclog.Logger
}

// State is a set of keys that all nodes see, with compare-and-set. Its methods
// are safe for concurrent use. A lost connection is taken up again by itself;
// meanwhile reads wait, and writes fail soon: who writes must read again first,
// as a write that got no answer may be stored or not.
type State struct {
	opts   StateOptions
	prefix string

	mu     sync.Mutex
	conn   *stateConn
	closed bool
}

type stateConn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	ctx    context.Context // ends with the connection: no answer comes any more
	lose   context.CancelFunc
}

// StateEntry is one key's value. Where the key is not there, Value is nil; the
// revision is then what Put needs to make it.
type StateEntry struct {
	Value    []byte
	Revision uint64
}

const (
	stateTimeout  = 3 * time.Second // for one answer
	stateRetryMin = 50 * time.Millisecond
	stateRetryMax = time.Second
	// A key's name and what goes with it in the stream.
	maxStateKey = 200
)

// OpenState connects, and waits until the bucket is there or ctx ends. An access
// that leads nowhere (ErrNoState) and refused credentials are errors at once.
func OpenState(ctx context.Context, o StateOptions) (*State, error) {
	s := newState(o)
	o = s.opts
	told := false
	for wait := stateRetryMin; ; wait = min(2*wait, stateRetryMax) {
		_, err := s.connection(ctx)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, ErrNoState), errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
			return nil, fmt.Errorf("open state: %w", err)
		}
		if !told {
			told = true
			o.Logger.Warn("shared state cannot be reached, trying again", "error", err)
		}
		if sleep(ctx, wait) != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
	}
}

func newState(o StateOptions) *State {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &State{opts: o, prefix: subjectState + stateToken(o.Scope) + "."}
}

// Close disconnects. Calls under way fail.
func (s *State) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		s.conn.nc.Close()
	}
}

// Check says why the state cannot be reached now, or nil. It connects where no
// connection is left.
func (s *State) Check(ctx context.Context) error {
	_, err := s.connection(ctx)
	return err
}

// connection is a live one; a lost one is replaced.
func (s *State) connection(ctx context.Context) (*stateConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the state is closed")
	}
	if s.conn != nil && s.conn.nc.IsConnected() {
		return s.conn, nil
	}
	if s.conn != nil {
		s.conn.nc.Close()
		s.conn = nil
	}
	a, err := s.opts.Access()
	if err != nil {
		return nil, err
	}
	c, err := s.dial(ctx, a)
	if err != nil {
		return nil, a.hidden(err)
	}
	s.conn = c
	return c, nil
}

func (s *State) dial(ctx context.Context, a StateAccess) (*stateConn, error) {
	url, opts, err := a.options()
	if err != nil {
		return nil, err
	}
	c := new(stateConn)
	c.ctx, c.lose = context.WithCancel(context.Background())
	opts = append(opts,
		nats.Name("epmesh state "+s.opts.Name), nats.CustomInboxPrefix(stateInbox), nats.Timeout(stateTimeout),
		// Another connection is made by ours, with what the access says then.
		nats.NoReconnect(), nats.PingInterval(5*time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.lose()
			if err != nil {
				s.opts.Logger.Warn("connection to the shared state lost", "error", a.hidden(err))
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { c.lose() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.opts.Logger.Warn("shared state", "error", a.hidden(err))
		}),
	)
	if c.nc, err = nats.Connect(url, opts...); err != nil {
		c.lose()
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	if c.js, err = jetstream.New(c.nc); err == nil {
		try, cancel := context.WithTimeout(ctx, stateTimeout)
		defer cancel()
		c.stream, err = c.js.Stream(try, stateStream)
	}
	if err != nil {
		c.nc.Close()
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("there is no bucket %s: a node of this version makes it when it starts", StateBucket)
		}
		return nil, fmt.Errorf("bucket %s: %w", StateBucket, err)
	}
	return c, nil
}

// Get reads a key. It waits for a server that is away until ctx ends.
func (s *State) Get(ctx context.Context, key string) (StateEntry, error) {
	if err := checkStateKey(key); err != nil {
		return StateEntry{}, err
	}
	for wait := stateRetryMin; ; wait = min(2*wait, stateRetryMax) {
		e, err := s.get(ctx, key)
		if err == nil {
			return e, nil
		}
		if sleep(ctx, wait) != nil {
			return e, fmt.Errorf("read state: %w", err)
		}
	}
}

func (s *State) get(ctx context.Context, key string) (StateEntry, error) {
	c, err := s.connection(ctx)
	if err != nil {
		return StateEntry{}, err
	}
	try, done := c.attempt(ctx)
	defer done()
	m, err := c.stream.GetLastMsgForSubject(try, s.prefix+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return StateEntry{}, nil
	case err != nil:
		return StateEntry{}, err
	case gone(m.Header):
		return StateEntry{Revision: m.Sequence}, nil
	}
	return StateEntry{Value: m.Data, Revision: m.Sequence}, nil
}

// Put writes a key that is still as its revision says, 0 meaning that it is not
// there, and returns the new revision; ErrConflict where it has changed. The key
// is forgotten when it was not written for keep, which is above 0 and at most
// MaxStateAge. After another error the write may have been stored.
func (s *State) Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	return s.write(ctx, &nats.Msg{Subject: s.prefix + key, Data: value}, key, revision, keep)
}

// Delete removes a key that is still as its revision says.
func (s *State) Delete(ctx context.Context, key string, revision uint64) error {
	m := &nats.Msg{Subject: s.prefix + key, Header: nats.Header{"KV-Operation": {"DEL"}}}
	_, err := s.write(ctx, m, key, revision, time.Hour)
	return err
}

func (s *State) write(ctx context.Context, m *nats.Msg, key string, revision uint64, keep time.Duration) (uint64, error) {
	if err := checkStateKey(key); err != nil {
		return 0, err
	}
	if keep < time.Second || keep > MaxStateAge {
		return 0, fmt.Errorf("write state: keep is %s, want 1s to %s", keep, MaxStateAge)
	}
	c, err := s.connection(ctx)
	if err != nil {
		return 0, fmt.Errorf("write state: %w", err)
	}
	try, done := c.attempt(ctx)
	defer done()
	ack, err := c.js.PublishMsg(try, m, jetstream.WithRetryAttempts(0),
		jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithMsgTTL(keep.Truncate(time.Second)))
	if err == nil {
		return ack.Sequence, nil
	}
	if conflicts(err) {
		return 0, ErrConflict
	}
	return 0, fmt.Errorf("write state: %w", err)
}

// attempt bounds one question by time and by the connection's life.
func (c *stateConn) attempt(ctx context.Context) (context.Context, func()) {
	try, cancel := context.WithTimeout(ctx, stateTimeout)
	stop := context.AfterFunc(c.ctx, cancel)
	return try, func() { stop(); cancel() }
}

func checkStateKey(key string) error {
	if len(key) == 0 || len(key) > maxStateKey {
		return fmt.Errorf("state key of %d bytes, want 1 to %d", len(key), maxStateKey)
	}
	for i := range len(key) {
		if c := key[i]; !plainByte(c) && c != '=' && (c != '.' || i == 0 || i == len(key)-1 || key[i-1] == '.') {
			return fmt.Errorf("state key %q: want letters, digits, -, _ and =, with dots between", key)
		}
	}
	return nil
}
