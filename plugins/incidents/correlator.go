package incidents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// space is the name space of the ids that the plugin makes.
var space = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/epmesh/epmesh/incidents"))

const (
	// closeWait is how long a stopping plugin waits for the last Acks.
	closeWait = 300 * time.Millisecond
	// goneAfter is how long the shared state may be away before the plugin stops
	// serving: the node then keeps alerts and counts no attempts.
	goneAfter = 3 * time.Second
	lookEvery = 250 * time.Millisecond
)

// correlator is the running plugin.
type correlator struct {
	plugins.Instance
	settings

	ledger *ledger
	out    *plugins.Notifier

	mu   sync.Mutex
	sent *lru[bool] // alerts whose message is stored
}

// Run serves until ctx ends, whenever the state can be reached.
func (c *correlator) Run(ctx context.Context) error {
	st, reachable, closeStore, err := c.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%w; or, where no other node is to know of its incidents, set plugins.%s.state: memory", err, c.Name)
	}
	defer closeStore()
	c.ledger = newLedger(&c.settings, st, c.Logger)
	defer c.ledger.close()
	if c.out, err = plugins.NewNotifier(c.Sender()); err != nil {
		return err
	}
	c.sent = newLRU[bool](c.Cache)
	for ctx.Err() == nil && err == nil {
		err = c.serve(ctx, reachable)
	}
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	// Every message was waited for by its call: an error here says what those
	// calls said.
	_ = c.out.Close(end)
	return err
}

// open opens the store of the settings.
func (c *correlator) open(ctx context.Context) (st store, reachable func() bool, closeStore func(), err error) {
	memory := func() (store, func() bool, func(), error) {
		return newMemory(), func() bool { return true }, func() {}, nil
	}
	if c.State == stateMemory {
		return memory()
	}
	s, err := bridge.OpenState(ctx, bridge.StateOptions{Name: c.Name, Scope: c.Name, Access: c.access, Logger: c.Logger})
	if errors.Is(err, bridge.ErrAlone) {
		c.Logger.Warn("incidents are kept in memory and forgotten when the plugin ends", "why", err)
		return memory()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return s, func() bool { return s.Check(ctx) == nil }, s.Close, nil
}

// access is how the state is reached: as the settings say, else as the node
// does, else by NATS_URL.
func (c *correlator) access() (bridge.StateAccess, error) {
	if n := c.NATS; n.URL != "" || n.Context != "" {
		return bridge.StateAccess{URL: n.URL, Credentials: n.Credentials, Context: n.Context}, nil
	}
	return bridge.ReadStateAccess(filepath.Join(c.Dir, "run", "state.json"), os.Getenv("NATS_URL"))
}

// serve serves until ctx ends or the state has been away for goneAfter; then it
// waits until it is back.
func (c *correlator) serve(ctx context.Context, reachable func() bool) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	watching.Go(func() {
		gone := func() bool { return !reachable() }
		if stays(serving, gone, goneAfter) {
			c.Logger.Warn("the shared state is away, alerts wait until it is back")
			stop()
		}
	})
	err := plugins.Serve(serving, plugins.Options{Name: c.Name, Dir: c.Dir, Logger: c.Logger, Correlate: c.correlate})
	stop()
	watching.Wait()
	if err == nil && ctx.Err() == nil && stays(ctx, reachable, 0) {
		c.Logger.Info("the shared state is back")
	}
	return err
}

// stays waits until something has been so for that long, and reports false where
// ctx ended before.
func stays(ctx context.Context, so func() bool, long time.Duration) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	since := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-tick.C:
			switch {
			case !so():
				since = time.Time{}
			case since.IsZero():
				since = now
			}
			if !since.IsZero() && now.Sub(since) >= long {
				return true
			}
		}
	}
}

// correlate returns once the alert is in the state and its message is stored, so
// that an alert of which one is not true comes again.
func (c *correlator) correlate(ctx context.Context, a *pb.Alert) error {
	if a.Id == "" {
		return status.Error(codes.InvalidArgument, "an alert needs an id")
	}
	f := factsOf(a, &c.settings, time.Now())
	c.mu.Lock()
	_, sent := c.sent.get(f.record)
	c.mu.Unlock()
	if sent {
		return nil
	}
	o, err := c.ledger.take(ctx, f)
	if err != nil {
		return failure(err)
	}
	if topic := c.topic(o.entry.Kind); topic != "" {
		m, err := c.message(f, o)
		if err != nil {
			return err
		}
		m.Topic = topic
		if err := c.out.Store(ctx, m); err != nil {
			return failure(err)
		}
	}
	c.mu.Lock()
	c.sent.put(f.record, true)
	c.mu.Unlock()
	return nil
}

func (c *correlator) topic(k kind) string {
	switch k {
	case opened:
		return c.Topics.New
	case duplicate:
		return c.Topics.Duplicate
	}
	return c.Topics.Update
}

// failure is an error as the node reads it: again later, unless what is stored
// cannot be read.
func failure(err error) error {
	if errors.Is(err, errUnreadable) {
		return status.Error(codes.Internal, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}
