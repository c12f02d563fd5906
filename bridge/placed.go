package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Items that a node may not take, by rules about their tenant or dataType, take
// one more hop: the node stores them under what they demand of a node, in a
// stream of its own, and acknowledges the original after that. Nodes that may
// take them serve a consumer for each demand. An item is in one place at any
// time, and each node looks at its own rules before it works on one.

// Placing says which of a consumer's items this node takes. Its functions are
// called by many goroutines at once, and may change their mind.
type Placing struct {
	// Elsewhere is what an item of the subject demands of a node, or "" where this
	// node takes it.
	Elsewhere func(subject string) (demand string)
	// Takes reports whether this node works off what waits under a demand, given
	// as its Token. It does not mean that it may work on all of that itself.
	Takes func(token string) bool
}

// PlacedPrefix begins the names of consumers of items that were handed on.
const PlacedPrefix = "placed-"

const (
	placedSign = "=" // before the demand in a name; no name has it
	// placedEvery is how old what is known of demands may be.
	placedEvery = time.Second
	// placedPause is before what was handed on before is handed on again, as it is
	// while nodes have different rules.
	placedPause = 100 * time.Millisecond
)

// PlacedOf tells a consumer of items that were handed on by the consumer they
// are of and by what they demand of a node.
func PlacedOf(name string) (consumer, demand string, ok bool) {
	consumer, token, ok := splitPlaced(name)
	demand, _ = Untoken(token)
	return consumer, demand, ok
}

// splitPlaced is PlacedOf with the demand as its Token.
func splitPlaced(name string) (consumer, token string, ok bool) {
	name, ok = strings.CutPrefix(name, PlacedPrefix)
	i := strings.LastIndex(name, placedSign)
	if !ok || i < 0 {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

// WaitsFor is the consumer whose items a consumer has: itself, or the one that
// they were handed on by.
func WaitsFor(name string) string {
	if consumer, _, ok := PlacedOf(name); ok {
		return consumer
	}
	return strings.TrimPrefix(name, KeyedPrefix)
}

func (c Consumer) placedName(token string) string {
	return PlacedPrefix + c.Name() + placedSign + token
}

func placedSubject(consumer, token string) string { return subjectPlaced + consumer + "." + token }

func (c Consumer) placedSubject(token string) string { return placedSubject(c.Name(), token) }

// ensurePlaced makes the consumer of a demand. The stream keeps what it has
// without one too, so this is not needed for anything not to be lost.
func (b *Bridge) ensurePlaced(ctx context.Context, c Consumer, token string) error {
	cfg := b.pullConfig(c, c.placedName(token))
	cfg.FilterSubject = c.placedSubject(token)
	return b.ensureConsumerConfig(ctx, StreamPlaced, cfg)
}

// elsewhere is what the items of a message, which share a subject, demand of a
// node; "" where they are worked on here.
func (r *run) elsewhere(items []Item) string {
	if r.w.Place == nil || len(items) == 0 {
		return ""
	}
	return r.w.Place.Elsewhere(items[0].Subject)
}

// handOn stores a message's items under a demand, then lets the message go.
func (r *run) handOn(msg jetstream.Msg, items []Item, demand string) {
	c, token := r.w.Consumer, Token(demand)
	err := error(nil)
	if r.name != c.Name() {
		err = sleep(r.stopping, placedPause)
	}
	if _, known := r.b.placed.ensured.Load(c.placedName(token)); !known && err == nil {
		// Before the items are there, so that they are seen to wait.
		if err = r.b.ensurePlaced(r.work, c, token); err == nil {
			r.b.placed.ensured.Store(c.placedName(token), true)
		}
	}
	if err == nil {
		err = r.storePlaced(msg, c.placedSubject(token), items)
	}
	if err != nil {
		r.b.log.Debug("giving back what could not be handed on", "consumer", r.name, "demand", demand, "error", err)
		r.giveBack(msg, len(items), r.delay(deliveries(msg)))
		return
	}
	if r.finish(msg, nil, nil, len(items)) {
		r.w.Stats.returned.Add(int64(len(items)))
	}
}

// storePlaced stores the items. The ids of what it stores are made of where they
// are from too: what comes again is stored once, and what comes back to a demand
// that it has been under is no repetition.
func (r *run) storePlaced(msg jetstream.Msg, subject string, items []Item) error {
	from := ""
	if meta, err := msg.Metadata(); err == nil {
		from = meta.Stream + " " + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	return r.storeUnder(r.work, items, func(items []Item) *nats.Msg { return placedMessage(subject, from, items) })
}

func placedMessage(subject, from string, items []Item) *nats.Msg {
	return rawMessage(subject, NewID([]byte(subject), []byte(from), idsOf(items)), encodeKeyed(items))
}

// demands keeps what is known of StreamPlaced, for all consumers of a node.
type demands struct {
	ensured sync.Map // names of consumers

	mu       sync.Mutex
	at       time.Time
	subjects map[string]uint64 // with something not done
}

// waitingFor are the tokens of the demands that something of the consumer waits
// under.
func (b *Bridge) waitingFor(ctx context.Context, c Consumer) (map[string]bool, error) {
	d := &b.placed
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.at) > placedEvery/2 {
		ask, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		stream, err := b.js.Stream(ask, StreamPlaced)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", StreamPlaced, err)
		}
		d.subjects, d.at = nil, time.Now()
		if stream.CachedInfo().State.Msgs > 0 {
			info, err := stream.Info(ask, jetstream.WithSubjectFilter(subjectPlaced+">"))
			if err != nil {
				return nil, fmt.Errorf("stream %s: %w", StreamPlaced, err)
			}
			d.subjects = info.State.Subjects
		}
	}
	tokens := map[string]bool{}
	for subject := range d.subjects {
		if token, ok := strings.CutPrefix(subject, c.placedSubject("")); ok {
			tokens[token] = true
		}
	}
	return tokens, nil
}

// servePlaced works off what waits under the demands that this node takes, until
// ctx ends and what it holds is finished.
func (b *Bridge) servePlaced(ctx context.Context, w Work) {
	serving := map[string]context.CancelFunc{}
	ended := make(chan string)
	tick := time.NewTicker(placedEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		waiting, err := b.waitingFor(ctx, w.Consumer)
		if err != nil && ctx.Err() == nil {
			b.log.Debug("cannot ask for what was handed on", "consumer", w.Consumer.Name(), "error", err)
		}
		for token := range waiting {
			if serving[token] != nil {
				continue
			}
			// It is made for others too: who looks sees what waits by its consumer.
			if err := b.ensurePlaced(ctx, w.Consumer, token); err != nil || !w.Place.Takes(token) {
				continue
			}
			life, end := context.WithCancel(ctx)
			serving[token] = end
			go func() {
				if err := b.consume(life, w, StreamPlaced, w.Consumer.placedName(token)); err != nil {
					b.log.Warn("cannot take what was handed on, trying again", "error", err)
				}
				ended <- token
			}()
		}
		for token, end := range serving {
			if !w.Place.Takes(token) {
				end()
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case token := <-ended:
			serving[token]()
			delete(serving, token)
		}
	}
	for range serving {
		<-ended
	}
	for _, end := range serving {
		end()
	}
}

// prunePlaced deletes the consumer of a demand, and what waits for it.
func (b *Bridge) prunePlaced(ctx context.Context, name string) (pruned bool, err error) {
	consumer, token, ok := splitPlaced(name)
	if !ok {
		return false, nil
	}
	stream, err := b.js.Stream(ctx, StreamPlaced)
	if err != nil {
		return false, fmt.Errorf("prune %s: %w", name, err)
	}
	if err := stream.DeleteConsumer(ctx, name); err != nil {
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return false, nil
		}
		return false, fmt.Errorf("prune %s: %w", name, err)
	}
	b.placed.ensured.Delete(name)
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(placedSubject(consumer, token))); err != nil {
		return true, fmt.Errorf("prune %s: %w", name, err)
	}
	return true, nil
}
