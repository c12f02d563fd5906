package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNobody is what [Peers.Ask] returns where nobody answers to that name now.
var ErrNobody = errors.New("it is not there")

// PeersOptions open a Peers.
type PeersOptions struct {
	// Group is what all of them are: the served name of a plugin. Node is the one
	// that this is on; two with one name answer for each other.
	Group, Node string
	// Forget is how long one that has gone is still listed, 1s or more.
	Forget time.Duration
	// Access tells how to connect, as that of StateOptions.
	Access func() (StateAccess, error)
	// Answer answers the request of another. It is called by up to Answers
	// goroutines at once; what comes above that is refused.
	Answer  func(ctx context.Context, request []byte) []byte
	Answers int
	Logger  hclog.Logger
}

// Peers are the processes of one plugin on all nodes: who there is, from keys that
// expire in the state bucket, and a question to one of them. Its methods are safe
// for concurrent use.
type Peers struct {
	opts  PeersOptions
	state *State
	key   string

	names atomic.Pointer[[]string] // nil: not known yet
	conn  atomic.Pointer[peerConn]
	known chan struct{} // closed once names are known
	room  chan struct{} // has one for each answer under way
	ctx   context.Context
	stop  context.CancelFunc

	mu     sync.Mutex // of closed, with which no work is added
	closed bool
	work   sync.WaitGroup
}

const (
	subjectHistory = "epmesh.history."
	// The scope of the keys that say who there is.
	peerScope = "history"
	// peerBeat is how often a key is written anew and the others are read.
	peerBeat = 2 * time.Second
)

// peerConn is a connection on which requests come.
type peerConn struct {
	*stateConn
	sub *nats.Subscription
}

// peerValue is what a key of who there is holds.
type peerValue struct {
	Node string `json:"node"`
}

// OpenPeers connects in the background, and goes on trying until Close.
func OpenPeers(o PeersOptions) *Peers {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	p := &Peers{
		opts: o, key: "peer." + stateToken(o.Group) + "." + stateToken(o.Node),
		known: make(chan struct{}), room: make(chan struct{}, max(1, o.Answers)),
	}
	p.state = newState(StateOptions{Name: o.Group, Scope: peerScope, Access: o.Access, Logger: o.Logger})
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.work.Go(p.run)
	return p
}

// Close stops answering, and returns once no answer is under way. The others go on
// listing this one until it is forgotten: what it knows is missed meanwhile.
func (p *Peers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	// Whoever asks from now on is told at once that nobody is there.
	if c := p.conn.Load(); c != nil && c.sub.Unsubscribe() == nil {
		_ = c.nc.FlushTimeout(time.Second)
	}
	p.state.Close()
	p.work.Wait()
}

// Known is closed once it is known who there is. It stays open where that cannot
// be found out.
func (p *Peers) Known() <-chan struct{} { return p.known }

// List names the nodes of the others, sorted, those that went lately among them.
// ok is false until it is known for the first time. The list is not to be changed.
func (p *Peers) List() (nodes []string, ok bool) {
	names := p.names.Load()
	if names == nil {
		return nil, false
	}
	return *names, true
}

// Ask asks the one on a node and waits for its answer until ctx ends.
func (p *Peers) Ask(ctx context.Context, node string, request []byte) ([]byte, error) {
	c := p.conn.Load()
	if c == nil || !c.nc.IsConnected() {
		return nil, fmt.Errorf("ask %s: %w", node, errors.New("no connection to nats"))
	}
	try, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)() // with the connection goes the answer
	m, err := c.nc.RequestWithContext(try, p.subject(node), request)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		err = ErrNobody
	case err == nil && len(m.Data) == 0:
		err = errors.New("it has too much to do")
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", node, err)
	}
	return m.Data, nil
}

// MaxAnswer is the largest request or answer, in bytes; 0 while that is not known.
func (p *Peers) MaxAnswer() int {
	if c := p.conn.Load(); c != nil {
		return int(c.nc.MaxPayload()) - headerRoom
	}
	return 0
}

func (p *Peers) subject(node string) string {
	return subjectHistory + Token(p.opts.Group) + "." + Token(node)
}

// run keeps the connection, the own key and the list.
func (p *Peers) run() {
	told := false
	for p.ctx.Err() == nil {
		c, err := p.beat()
		if errors.Is(err, ErrNoState) {
			p.learn(nil) // there is nobody to share with
			return
		}
		if err != nil && p.ctx.Err() == nil && !told {
			p.opts.Logger.Warn("other nodes cannot be listed; searches miss their events until they can", "error", err)
		}
		told = err != nil
		if c == nil {
			_ = sleep(p.ctx, stateRetryMax)
			continue
		}
		pause := time.NewTimer(min(peerBeat, p.opts.Forget/3))
		select {
		case <-pause.C:
		case <-c.ctx.Done():
		case <-p.ctx.Done():
		}
		pause.Stop()
	}
}

// beat sees to it that requests reach this process, says that it is there, and
// reads who else is.
func (p *Peers) beat() (*stateConn, error) {
	c, err := p.state.connection(p.ctx)
	if err != nil {
		return nil, err
	}
	if known := p.conn.Load(); known == nil || known.stateConn != c {
		sub, err := c.nc.Subscribe(p.subject(p.opts.Node), p.take)
		if err != nil {
			return c, err
		}
		if err := c.nc.FlushTimeout(stateTimeout); err != nil {
			_ = sub.Unsubscribe()
			return c, err
		}
		p.conn.Store(&peerConn{c, sub})
	}
	value, err := json.Marshal(peerValue{p.opts.Node})
	if err != nil {
		return c, err
	}
	own, err := p.state.get(p.ctx, p.key)
	if err == nil {
		_, err = p.state.Put(p.ctx, p.key, value, own.Revision, max(time.Second, p.opts.Forget))
	}
	if err != nil && !errors.Is(err, ErrConflict) { // which is one of the same name, or what a lost answer was about
		return c, err
	}
	names, err := p.others(c)
	if err != nil {
		return c, err
	}
	p.learn(names)
	return c, nil
}

// others reads who else is there.
func (p *Peers) others(c *stateConn) ([]string, error) {
	all := p.state.prefix + "peer." + stateToken(p.opts.Group) + "."
	try, done := c.attempt(p.ctx)
	defer done()
	info, err := c.stream.Info(try, jetstream.WithSubjectFilter(all+"*"))
	if err != nil {
		return nil, fmt.Errorf("list who is there: %w", err)
	}
	names := []string{}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, p.state.prefix)
		if key == p.key {
			continue
		}
		e, err := p.state.get(p.ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read who is there: %w", err)
		}
		var v peerValue
		if e.Value == nil || json.Unmarshal(e.Value, &v) != nil || p.state.prefix+key != all+stateToken(v.Node) {
			continue
		}
		names = append(names, v.Node)
	}
	slices.Sort(names)
	return names, nil
}

func (p *Peers) learn(names []string) {
	before := p.names.Swap(&names)
	if before == nil {
		close(p.known)
	}
	if len(names) > 0 && (before == nil || !slices.Equal(*before, names)) {
		p.opts.Logger.Info("searches ask the other nodes", "nodes", names)
	}
}

// take answers a request. The empty answer says that there is too much to do.
func (p *Peers) take(m *nats.Msg) {
	select {
	case p.room <- struct{}{}:
	default:
		_ = m.Respond(nil)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.work.Go(func() {
		defer func() { <-p.room }()
		_ = m.Respond(p.opts.Answer(p.ctx, m.Data))
	})
}
