package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

func item(subject, body string) bridge.Item {
	return bridge.Item{ID: bridge.NewID([]byte(body)), Subject: subject, Received: time.Now().UnixNano(), Body: []byte(body)}
}

func logs(n int) []bridge.Item {
	items := make([]bridge.Item, n)
	for i := range items {
		items[i] = item(bridge.LogSubject("tenant", fmt.Sprintf("type%d", i/50%3)), fmt.Sprintf("log %d", i))
	}
	return items
}

// ledger remembers bodies by how often they came.
type ledger struct {
	mu   sync.Mutex
	seen map[string]int
	want int
	done chan struct{}
}

func newLedger(want int) *ledger {
	return &ledger{seen: map[string]int{}, want: want, done: make(chan struct{})}
}

func (l *ledger) add(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[body]++
	if len(l.seen) == l.want {
		select {
		case <-l.done:
		default:
			close(l.done)
		}
	}
}

func (l *ledger) wait(t *testing.T) {
	t.Helper()
	select {
	case <-l.done:
	case <-time.After(20 * time.Second):
		l.mu.Lock()
		defer l.mu.Unlock()
		t.Fatalf("%d of %d came", len(l.seen), l.want)
	}
}

func (l *ledger) handler(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
	l.add(string(it.Body))
	return nil, nil
}

// topology is what the tests of this file run over: parse, two analysis plugins
// and one correlation plugin.
var topology = []bridge.Consumer{
	bridge.ParseConsumer(), bridge.AnalysisConsumer("one"), bridge.AnalysisConsumer("two.b"), bridge.CorrelationConsumer("c"),
}

func ensure(t testing.TB, b *bridge.Bridge, consumers ...bridge.Consumer) {
	t.Helper()
	if _, err := b.Ensure(t.Context(), consumers); err != nil {
		t.Fatal(err)
	}
}

// consume runs a consumer; stop drains it and waits.
func consume(t testing.TB, b *bridge.Bridge, w bridge.Work) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, w) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func publish(t testing.TB, b *bridge.Bridge, items ...bridge.Item) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Publish(ctx, items...); err != nil {
		t.Fatal(err)
	}
}

func deadLetters(t testing.TB, b *bridge.Bridge) []bridge.DeadLetter {
	t.Helper()
	var dead []bridge.DeadLetter
	err := b.DeadLetters(t.Context(), bridge.DeadFilter{}, func(d bridge.DeadLetter) bool {
		dead = append(dead, d)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return dead
}

// drained waits until the consumer has nothing left and the sum holds.
func drained(t testing.TB, b *bridge.Bridge, stats *bridge.Stats, name string) bridge.Counts {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, pending, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(pending, func(p bridge.Pending) bool { return p.Name == name })
		if i < 0 {
			t.Fatalf("no consumer %s", name)
		}
		c := stats.Snapshot()
		if pending[i].Messages == 0 && pending[i].Unacked == 0 && c.InFlight == 0 {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still has %+v, %+v", name, pending[i], c)
		}
	}
}

func TestEveryStageGetsEverything(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		const n = 1000
		one, two, alerts := newLedger(n), newLedger(n), newLedger(n)
		var stats bridge.Stats
		consume(t, b, bridge.Work{
			Consumer: bridge.ParseConsumer(), Parallel: 8, Within: 1, Stats: &stats,
			Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
				it.ID, it.Subject = it.ID.Derive("parse", 0), strings.Replace(it.Subject, ".log.", ".event.", 1)
				return []bridge.Item{it}, nil
			},
		})
		consume(t, b, bridge.Work{Consumer: bridge.AnalysisConsumer("two.b"), Parallel: 8, Within: 8, Handler: two.handler})
		consume(t, b, bridge.Work{
			Consumer: bridge.AnalysisConsumer("one"), Parallel: 8, Within: 8,
			Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
				one.add(string(it.Body))
				it.ID, it.Subject = it.ID.Derive("one", 0), strings.Replace(it.Subject, ".event.", ".alert.", 1)
				return []bridge.Item{it}, nil
			},
		})
		consume(t, b, bridge.Work{Consumer: bridge.CorrelationConsumer("c"), Parallel: 8, Within: 8, Handler: alerts.handler})
		publish(t, b, logs(n)...)
		for _, l := range []*ledger{one, two, alerts} {
			l.wait(t)
			for body, times := range l.seen {
				if times != 1 {
					t.Errorf("%q came %d times", body, times)
				}
			}
		}
		c := drained(t, b, &stats, "parse")
		if c.In != n || c.Out != n || c.Produced != n {
			t.Errorf("counted %+v", c)
		}
	})
}

func TestVerdicts(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		done := newLedger(3)
		attempts := newLedger(0)
		var stats bridge.Stats
		waits := 0
		consume(t, b, bridge.Work{
			Consumer: bridge.ParseConsumer(), Parallel: 8, Within: 8, Stats: &stats,
			Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
				body := string(it.Body)
				attempts.add(body)
				switch body {
				case "bad":
					return nil, bridge.Permanent(errors.New("is bad"))
				case "never":
					return nil, errors.New("did not work")
				case "third":
					if it.Attempt < 3 {
						return nil, errors.New("not yet")
					}
				case "drop":
					return nil, bridge.ErrDropped
				case "panic":
					panic("ouch")
				case "wait":
					if waits++; waits == 1 {
						return nil, bridge.Wait(errors.New("nobody there"))
					}
				}
				done.add(body)
				return nil, nil
			},
		})
		subject := bridge.LogSubject("t", "d")
		publish(t, b, item(subject, "good"), item(subject, "bad"), item(subject, "never"), item(subject, "third"), item(subject, "drop"), item(subject, "panic"))
		publish(t, b, item(subject, "wait"))
		done.wait(t)
		c := drained(t, b, &stats, "parse")
		if c.In != 8 || c.Out != 3 || c.Dropped != 1 || c.Dead != 3 || c.Returned != 1 || c.Retried != 4 {
			t.Errorf("counted %+v", c)
		}
		got := map[string]string{}
		for _, d := range deadLetters(t, b) {
			got[string(d.Body)] = fmt.Sprintf("%s/%d: %s", d.Stage, d.Attempts, d.Reason)
			if d.Subject != subject || d.Node != "test-node" || d.Time.IsZero() || d.ID != bridge.NewID(d.Body) {
				t.Errorf("dead letter %+v", d)
			}
		}
		want := map[string]string{"bad": "parse/1: is bad", "never": "parse/3: did not work", "panic": "parse/1: panic: ouch"}
		if !maps.Equal(got, want) {
			t.Errorf("dead letters %v, want %v", got, want)
		}
		if attempts.seen["good"] != 1 {
			t.Errorf("good was tried %d times: others failing must not cost it", attempts.seen["good"])
		}
	})
}

// What a crash leaves unacknowledged comes again, its outputs are stored once.
func TestRedeliveryGivesOneEffect(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		first := open(func(o *bridge.Options) { o.AckWait = 500 * time.Millisecond })
		ensure(t, first, topology...)
		const n = 100
		handler := func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			it.ID, it.Subject = it.ID.Derive("x", 0), bridge.AlertSubject("t", string(it.Body[:3]))
			return []bridge.Item{it}, nil
		}
		publish(t, first, logs(n)...)
		// The same logs again, as a sender that saw no Ack sends them, in other
		// batches.
		for _, it := range logs(n) {
			publish(t, first, it)
		}
		alerts := newLedger(n)
		consume(t, first, bridge.Work{Consumer: bridge.CorrelationConsumer("c"), Parallel: 8, Within: 8, Handler: alerts.handler})
		var stats bridge.Stats
		consume(t, first, bridge.Work{Consumer: bridge.ParseConsumer(), Parallel: 8, Within: 8, Handler: handler, Stats: &stats})
		alerts.wait(t)
		drained(t, first, &stats, "parse")
		var again bridge.Stats
		c := drained(t, first, &again, "correlation-c")
		_ = c
		for body, times := range alerts.seen {
			if times != 1 {
				t.Errorf("alert for %q came %d times", body, times)
			}
		}
	})
}

func TestDrainFinishesWhatItHolds(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		began, goOn := make(chan struct{}), make(chan struct{})
		var stats bridge.Stats
		stop := consume(t, b, bridge.Work{
			Consumer: bridge.ParseConsumer(), Parallel: 1, Within: 1, Stats: &stats,
			Handler: func(context.Context, bridge.Item) ([]bridge.Item, error) {
				close(began)
				<-goOn
				return nil, nil
			},
		})
		publish(t, b, item(bridge.LogSubject("t", "d"), "slow"))
		<-began
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		select {
		case <-stopped:
			t.Fatal("stopped with work in hand")
		case <-time.After(50 * time.Millisecond):
		}
		close(goOn)
		<-stopped
		if c := drained(t, b, &stats, "parse"); c.Out != 1 || c.Returned != 0 {
			t.Errorf("counted %+v", c)
		}
	})
}

// What is fetched ahead of slow work waits longer than the ack wait, and comes
// once all the same.
func TestConsumeKeepsWhatItFetched(t *testing.T) {
	s := bridgetest.Server(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.AckWait, o.BatchItems = s, 400*time.Millisecond, 1 })
	ensure(t, b, bridge.ParseConsumer())
	const n = 200
	l := newLedger(n)
	publish(t, b, logs(n)...)
	release := make(chan struct{})
	time.AfterFunc(4*400*time.Millisecond, func() { close(release) })
	stop := consume(t, b, bridge.Work{
		Consumer: bridge.ParseConsumer(), Parallel: 8, Within: 1,
		Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			<-release
			l.add(string(it.Body))
			return nil, nil
		},
	})
	l.wait(t)
	stop()
	for body, times := range l.seen {
		if times != 1 {
			t.Errorf("%q came %d times", body, times)
		}
	}
}
