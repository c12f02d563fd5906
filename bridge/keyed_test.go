package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// keyedRecord is what instances were given, checked as they are.
type keyedRecord struct {
	t *testing.T

	mu      sync.Mutex
	at      map[string]string // the node that a key is with now
	last    map[string]int    // the highest number that was done
	moves   map[string]map[string]bool
	done    int
	repeats int
	changed chan struct{}
}

func newKeyedRecord(t *testing.T) *keyedRecord {
	return &keyedRecord{t: t, at: map[string]string{}, last: map[string]int{}, moves: map[string]map[string]bool{}, changed: make(chan struct{}, 1)}
}

// begin is called before an item is worked on, end after.
func (r *keyedRecord) begin(node, key string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.at[key]; other != "" {
		r.t.Errorf("key %s is begun on %s while it is with %s", key, node, other)
	}
	r.at[key] = node
	if r.moves[key] == nil {
		r.moves[key] = map[string]bool{}
	}
	r.moves[key][node] = true
	if n > r.last[key]+1 {
		r.t.Errorf("key %s: %d after %d", key, n, r.last[key])
	}
}

func (r *keyedRecord) end(key string, n int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[key] = ""
	switch {
	case !ok:
	case n <= r.last[key]:
		r.repeats++
	default:
		r.last[key] = n
		r.done++
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *keyedRecord) wait(done int) {
	r.t.Helper()
	late := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		have := r.done
		r.mu.Unlock()
		if have >= done {
			return
		}
		select {
		case <-r.changed:
		case <-late:
			r.t.Fatalf("%d of %d are done", have, done)
		}
	}
}

func keyOf(item bridge.Item) string {
	key, _, _ := strings.Cut(string(item.Body), " ")
	return key
}

// keyedNode is one node that serves a consumer until it is stopped or killed.
type keyedNode struct {
	b    *bridge.Bridge
	stop context.CancelFunc
	done sync.WaitGroup
	held *bridge.KeyedStats
}

func startKeyed(t *testing.T, b *bridge.Bridge, name string, c bridge.Consumer, r *keyedRecord) *keyedNode {
	n := &keyedNode{b: b, held: new(bridge.KeyedStats)}
	if _, err := b.Ensure(t.Context(), []bridge.Consumer{c}); err != nil {
		t.Fatal(err)
	}
	l := b.Leases(bridge.LeaseOptions{TTL: 4 * time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	kept, end := context.WithCancel(context.Background())
	n.done.Go(func() { _ = l.Serve(kept) })
	n.done.Go(func() {
		defer end()
		fail := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		err := b.ServeKeyed(ctx, bridge.KeyedWork{
			Work: bridge.Work{Consumer: c, Parallel: 8, Within: 8, Drain: time.Second, Handler: func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
				key, number, _ := strings.Cut(string(item.Body), " ")
				i, _ := strconv.Atoi(number)
				r.begin(name, key, i)
				mu.Lock()
				failed := item.Attempt == 1 && fail.IntN(200) == 0
				mu.Unlock()
				r.end(key, i, !failed)
				if failed {
					return nil, errors.New("once more")
				}
				return nil, nil
			}},
			Leases: l, Key: keyOf, Keyed: n.held,
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); n.done.Wait() })
	return n
}

// All items of a key are worked on in the order in which they were stored, by
// one node at a time, while nodes come, go, and are cut off.
func TestKeyed(t *testing.T) {
	url := bridgetest.External(t)
	open := func(name string) *bridge.Bridge {
		return bridgetest.Open(t, func(o *bridge.Options) { o.Name, o.URL = name, url })
	}
	c := bridge.AnalysisConsumer("count")
	c.Affinity = bridge.Affinity{Key: "key", Parts: 16}
	r := newKeyedRecord(t)
	nodes := map[string]*keyedNode{}
	start := func(name string) { nodes[name] = startKeyed(t, open(name), name, c, r) }
	start("a")
	sender := open("sender")
	const keys = 60
	next, sent := map[int]int{}, 0
	random := rand.New(rand.NewPCG(3, 4))
	send := func(n int) {
		t.Helper()
		for n > 0 {
			var items []bridge.Item
			for range 1 + random.IntN(200) {
				k := random.IntN(keys)
				next[k]++
				body := fmt.Sprintf("key%d %d", k, next[k])
				items = append(items, bridge.Item{ID: bridge.NewID([]byte(body)), Subject: bridge.EventSubject("t", "d"), Body: []byte(body)})
			}
			// One call a tenant: of one subject the order is that of the items.
			if err := sender.Publish(t.Context(), items...); err != nil {
				t.Fatal(err)
			}
			n -= len(items)
			sent += len(items)
		}
	}
	send(2000)
	r.wait(sent)
	for _, name := range []string{"b", "c"} {
		start(name)
		send(1500)
	}
	r.wait(sent)
	send(1500)
	nodes["a"].stop() // in order
	send(1500)
	r.wait(sent)
	send(1500)
	nodes["b"].b.Close() // as if it were killed: nothing is given up
	send(1500)
	start("d")
	send(1500)
	r.wait(sent)
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, n := range next {
		if got := r.last[fmt.Sprint("key", k)]; got != n {
			t.Errorf("key %d: %d of %d", k, got, n)
		}
	}
	total := int64(0)
	for _, name := range []string{"c", "d"} {
		total += nodes[name].held.Snapshot().Held
	}
	if total != 16 {
		t.Errorf("%d of 16 parts are held at the end", total)
	}
	t.Logf("%d items of %d keys, %d repeated", sent, keys, r.repeats)
}
