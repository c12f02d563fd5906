package bridge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// placeNode is a node of a group, as rules by tenant see it: a tenant's items
// demand the group that rules has for it.
type placeNode struct {
	group string
	rules *atomic.Pointer[map[string]string]
}

func (n placeNode) placing() *bridge.Placing {
	return &bridge.Placing{
		Elsewhere: func(subject string) string {
			tenant, _ := bridge.Origin(subject)
			if want := (*n.rules.Load())[tenant]; want != n.group {
				return want
			}
			return ""
		},
		Takes: func(token string) bool {
			for _, want := range *n.rules.Load() {
				if bridge.Token(want) == token {
					return want == n.group
				}
			}
			return true
		},
	}
}

func rulesOf(rules map[string]string) *atomic.Pointer[map[string]string] {
	p := new(atomic.Pointer[map[string]string])
	p.Store(&rules)
	return p
}

// where remembers on which node each body was worked on.
type where struct {
	*ledger
	at sync.Map
}

func (w *where) work(c bridge.Consumer, n placeNode, stats *bridge.Stats) bridge.Work {
	return bridge.Work{
		Consumer: c, Parallel: 8, Within: 8, Place: n.placing(), Stats: stats,
		Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			if other, twice := w.at.LoadOrStore(string(it.Body), n.group); twice {
				return nil, bridge.Permanent(fmt.Errorf("done on %s already", other))
			}
			w.add(string(it.Body))
			return nil, nil
		},
	}
}

func tenantLogs(from, to int, tenants ...string) (items []bridge.Item) {
	for i := range to - from {
		tenant := tenants[i%len(tenants)]
		items = append(items, item(bridge.LogSubject(tenant, "d"), fmt.Sprint(tenant, " ", from+i)))
	}
	return items
}

// Items go to the nodes that they demand, each once, whoever takes them first;
// they wait where there is none, and are seen to; and they go on when the rules
// change.
func TestPlaced(t *testing.T) {
	server := bridgetest.Server(t)
	c := bridge.ParseConsumer()
	rules := rulesOf(map[string]string{"e": "eu", "u": "us", "c": "cn, with a name of its own"})
	w := &where{ledger: newLedger(600)}
	first := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	ensure(t, first, c)
	publish(t, first, tenantLogs(0, 800, "e", "u", "c", "any")...)
	var eu, us bridge.Stats
	consume(t, first, w.work(c, placeNode{"eu", rules}, &eu))
	second := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	stop := consume(t, second, w.work(c, placeNode{"us", rules}, &us))
	w.wait(t)
	want := map[string]string{"e": "eu", "u": "us"}
	w.at.Range(func(body, group any) bool {
		tenant, _, _ := strings.Cut(body.(string), " ")
		if want[tenant] != "" && want[tenant] != group || tenant == "c" {
			t.Errorf("%s was worked on by %s", body, group)
		}
		return true
	})
	var waits string
	eventually(t, "what nobody may take waits", func() bool {
		_, pending, err := first.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pending {
			if consumer, demand, ok := bridge.PlacedOf(p.Name); ok && demand == "cn, with a name of its own" && consumer == c.Name() && p.Messages > 0 {
				waits = p.Name
			}
		}
		lags, err := first.Lags(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return waits != "" && lags[waits].Items > 0 && lags[c.Name()].Messages == 0
	})
	if orphans, err := first.Orphans(t.Context(), []bridge.Consumer{c}); err != nil || len(orphans) > 0 {
		t.Errorf("orphans %v, %v", orphans, err)
	}
	if orphans, err := first.Orphans(t.Context(), nil); err != nil || !slices.Contains(orphans, waits) {
		t.Errorf("without its consumer %s is no orphan: %v, %v", waits, orphans, err)
	}
	// The rules change: what waited goes to another, by way of another demand
	// for some, and back to one that it was under before.
	w.mu.Lock()
	w.want, w.done = 800, make(chan struct{})
	w.mu.Unlock()
	stop()
	rules.Store(&map[string]string{"c": "us"})
	consume(t, second, w.work(c, placeNode{"us", rules}, &us))
	w.wait(t)
	w.at.Range(func(body, group any) bool {
		if strings.HasPrefix(body.(string), "c ") && group != "us" {
			t.Errorf("%s was worked on by %s", body, group)
		}
		return true
	})
	eventually(t, "all is counted", func() bool { return eu.Snapshot().InFlight == 0 && us.Snapshot().InFlight == 0 })
	if dead := eu.Snapshot().Dead + us.Snapshot().Dead; dead > 0 {
		t.Errorf("%d items came twice", dead)
	}
	eventually(t, "nothing is left, once the server has come to what is acked", func() bool {
		streams, _, err := first.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(streams, func(s bridge.StreamState) bool {
			return (s.Name == bridge.StreamPlaced || s.Name == bridge.StreamLog) && s.Messages > 0
		})
	})
}

// What is handed on to and fro between nodes of different rules is not taken for
// a repetition of itself.
func TestPlacedToAndFro(t *testing.T) {
	server := bridgetest.Server(t)
	c := bridge.ParseConsumer()
	w := &where{ledger: newLedger(100)}
	// Each believes that the other has to do it.
	one, two := rulesOf(map[string]string{"a": "two"}), rulesOf(map[string]string{"a": "one"})
	var sOne, sTwo bridge.Stats
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	ensure(t, b, c)
	publish(t, b, tenantLogs(0, 100, "a")...)
	consume(t, b, w.work(c, placeNode{"one", one}, &sOne))
	other := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	consume(t, other, w.work(c, placeNode{"two", two}, &sTwo))
	eventually(t, "all went to and fro", func() bool {
		return sOne.Snapshot().Returned+sTwo.Snapshot().Returned >= 500
	})
	one.Store(&map[string]string{"a": "one"})
	w.wait(t)
	eventually(t, "all is counted", func() bool { return sOne.Snapshot().InFlight == 0 && sTwo.Snapshot().InFlight == 0 })
	if dead := sOne.Snapshot().Dead + sTwo.Snapshot().Dead; dead > 0 {
		t.Errorf("%d items came twice", dead)
	}
}

// A consumer of a demand can be pruned, with what waits for it; what comes after
// that waits again.
func TestPlacedPruned(t *testing.T) {
	server := bridgetest.Server(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = server })
	c := bridge.ParseConsumer()
	ensure(t, b, c)
	rules := rulesOf(map[string]string{"a": "nobody"})
	w := &where{ledger: newLedger(1)}
	stop := consume(t, b, w.work(c, placeNode{"one", rules}, nil))
	name := bridge.PlacedPrefix + "parse=nobody"
	waiting := func(want uint64) func() bool {
		return func() bool {
			lags, err := b.Lags(t.Context())
			return err == nil && lags[name].Items == float64(want) && lags["parse"].Messages == 0
		}
	}
	for range 2 {
		publish(t, b, item(bridge.LogSubject("a", "d"), fmt.Sprint(time.Now())))
		eventually(t, "the item waits", waiting(1))
		if err := b.Prune(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing waits", waiting(0))
	}
	stop()
}
