package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/bridge/bridgetest"
)

// An output above what a message holds is a dead letter in parts, whole when
// read, and the rest of the batch goes on.
func TestOversizedOutputIsADeadLetter(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		huge := bytes.Repeat([]byte("0123456789"), 300_000)
		alerts := newLedger(1)
		var stats bridge.Stats
		consume(t, b, bridge.Work{Consumer: bridge.CorrelationConsumer("c"), Parallel: 1, Within: 1, Handler: alerts.handler})
		consume(t, b, bridge.Work{
			Consumer: bridge.AnalysisConsumer("one"), Parallel: 4, Within: 4, Stats: &stats,
			Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
				out := bridge.Item{ID: it.ID.Derive("one", 0), Subject: bridge.AlertSubject("t", "d"), Received: it.Received, Body: it.Body}
				if string(it.Body) == "huge" {
					out.Body = huge
				}
				return []bridge.Item{out}, nil
			},
		})
		subject := bridge.EventSubject("t", "d")
		publish(t, b, item(subject, "huge"), item(subject, "small"))
		alerts.wait(t)
		drained(t, b, &stats, "analysis-one")
		dead := deadLetters(t, b)
		if len(dead) != 1 {
			t.Fatalf("%d dead letters", len(dead))
		}
		d := dead[0]
		if !bytes.Equal(d.Body, huge) || d.Stage != "analysis" || d.Plugin != "one" || !strings.Contains(d.Reason, "max_payload") {
			t.Errorf("a body of %d bytes, stage %s, plugin %s: %s", len(d.Body), d.Stage, d.Plugin, d.Reason)
		}
		if err := b.Replay(t.Context(), d); !bridge.IsPermanent(err) {
			t.Errorf("replay of what does not fit: %v", err)
		}
		if err := b.DeleteDead(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if n := len(deadLetters(t, b)); n != 0 {
			t.Errorf("%d dead letters after the deletion", n)
		}
	})
}

func TestPublishOversized(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	ensure(t, b, topology...)
	subject := bridge.LogSubject("t", "d")
	got := newLedger(2)
	consume(t, b, bridge.Work{Consumer: bridge.ParseConsumer(), Parallel: 1, Within: 1, Handler: got.handler})
	err := b.Publish(t.Context(), item(subject, "before"), item(subject, strings.Repeat("x", b.MaxItem()+1)), item(subject, "after"))
	var refused *bridge.ItemError
	if !bridge.IsPermanent(err) || !errors.As(err, &refused) || len(refused.Item.Body) != b.MaxItem()+1 {
		t.Errorf("publish: %v", err)
	}
	got.wait(t)
	publish(t, b, item(subject, strings.Repeat("y", b.MaxItem())))
}

func TestReplayGoesOnlyToWhoGaveUp(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		mended := make(chan struct{})
		one, two := newLedger(1), newLedger(2)
		var stats, others bridge.Stats
		consume(t, b, bridge.Work{Consumer: bridge.AnalysisConsumer("one"), Parallel: 1, Within: 1, Stats: &others, Handler: one.handler})
		consume(t, b, bridge.Work{
			Consumer: bridge.AnalysisConsumer("two.b"), Parallel: 1, Within: 1, Stats: &stats,
			Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
				select {
				case <-mended:
					two.add(it.Subject)
					two.add(string(it.Body))
					return nil, nil
				default:
					return nil, bridge.Permanent(errors.New("cannot"))
				}
			},
		})
		subject := bridge.EventSubject("ten.ant", "d")
		publish(t, b, item(subject, "event"))
		one.wait(t)
		drained(t, b, &stats, "analysis-two%2eb")
		d, err := b.DeadLetter(t.Context(), deadLetters(t, b)[0].Sequence)
		if err != nil {
			t.Fatal(err)
		}
		close(mended)
		if err := b.Replay(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		two.wait(t)
		if two.seen[subject] != 1 {
			t.Errorf("came back as %v, want the subject %s", two.seen, subject)
		}
		drained(t, b, &others, "analysis-one")
		if one.seen["event"] != 1 || len(deadLetters(t, b)) != 0 {
			t.Errorf("the other plugin saw it %d times; %d dead letters left", one.seen["event"], len(deadLetters(t, b)))
		}
		d.Consumer = "analysis-removed"
		if err := b.Replay(t.Context(), d); err == nil || !strings.Contains(err.Error(), "no consumer") {
			t.Errorf("replay to nobody: %v", err)
		}
	})
}

// A full stream delays, loses nothing, and recovers by itself.
func TestFullStreamIsWaitedFor(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server, o.MaxStore = bridgetest.Server(t), 256<<10 })
	ensure(t, b, topology...)
	const n = 2000
	body := strings.Repeat("z", 500)
	published := make(chan error, 1)
	go func() {
		for i := range n {
			if err := b.Publish(context.Background(), item(bridge.LogSubject("t", "d"), string(rune('a'+i%26))+body+time.Duration(i).String())); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	// Nobody consumes until the stream is full: then publishing stands still.
	for full := false; !full; {
		states, _, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(states, func(s bridge.StreamState) bool { return s.Name == bridge.StreamLog })
		full = states[i].Bytes > 250<<10
	}
	select {
	case err := <-published:
		t.Fatalf("all was published into a full stream: %v", err)
	default:
	}
	got := newLedger(n)
	consume(t, b, bridge.Work{Consumer: bridge.ParseConsumer(), Parallel: 64, Within: 1, Handler: got.handler})
	got.wait(t)
	if err := <-published; err != nil {
		t.Error(err)
	}
}

func TestLeavesWhatANewerNodeStored(t *testing.T) {
	s := bridgetest.Server(t)
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = s })
	ensure(t, b, topology...)
	nc := s.Bare(t)
	defer nc.Close()
	if _, err := nc.Request(bridge.LogSubject("t", "d"), []byte{8, bridge.Version + 1, 99, 99}, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request(bridge.LogSubject("t", "d"), []byte("not of epmesh"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	var stats bridge.Stats
	consume(t, b, bridge.Work{Consumer: bridge.ParseConsumer(), Parallel: 1, Within: 1, Stats: &stats, Handler: newLedger(0).handler})
	for c := stats.Snapshot(); c.Newer == 0 || c.Dead == 0; c = stats.Snapshot() {
		if t.Context().Err() != nil {
			t.Fatal("never seen")
		}
	}
	dead := deadLetters(t, b)
	if len(dead) != 1 || string(dead[0].Body) != "not of epmesh" {
		t.Errorf("dead letters %+v, want the one that is no batch", dead)
	}
	_, pending, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		if p.Name == "parse" && p.Messages+uint64(p.Unacked) != 1 {
			t.Errorf("the newer message is gone: %+v", p)
		}
	}
}

func TestTap(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		b := open()
		ensure(t, b, topology...)
		var got []string
		ready := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			_, err := b.Tap(t.Context(), bridge.TapFilter{Stage: "logs", Tenant: "a.b"}, func() { close(ready) }, func(x bridge.Tapped) bool {
				got = append(got, string(x.Item.Body))
				return len(got) < 3
			})
			ended <- err
		}()
		<-ready
		publish(t, b, item(bridge.LogSubject("other", "d"), "0"), item(bridge.LogSubject("a.b", "d"), "1"), item(bridge.LogSubject("a.b", "d"), "2"), item(bridge.LogSubject("a.b", "e"), "3"))
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("tapped %v", got)
		}
		if _, err := b.Tap(t.Context(), bridge.TapFilter{Stage: "evnets"}, nil, nil); err == nil || !strings.Contains(err.Error(), "events") {
			t.Errorf("unknown stage: %v", err)
		}
	})
}

func TestAsk(t *testing.T) {
	bridgetest.Each(t, func(t *testing.T, open func(...func(*bridge.Options)) *bridge.Bridge) {
		asker := open()
		if answers, err := asker.Ask(t.Context(), "status", 5*time.Second); err != nil || len(answers) != 0 {
			t.Errorf("nobody there: %q, %v", answers, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, name := range []string{"one", "two"} {
			node := open()
			go func() {
				ended <- node.Serve(ctx, "status", nil, func() ([]byte, error) { return []byte(name), nil })
			}()
		}
		for {
			answers, err := asker.Ask(t.Context(), "status", 500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if len(answers) == 2 {
				break
			}
		}
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOrphansAndPrune(t *testing.T) {
	b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.Server(t) })
	ensure(t, b, topology...)
	orphans, err := b.Ensure(t.Context(), topology[:2])
	if err != nil || !slices.Equal(orphans, []string{"analysis-two%2eb", "correlation-c"}) {
		t.Fatalf("orphans %v, %v", orphans, err)
	}
	if err := b.Prune(t.Context(), orphans[0]); err != nil {
		t.Fatal(err)
	}
	if err := b.Prune(t.Context(), orphans[0]); err == nil || !strings.Contains(err.Error(), "no such consumer") {
		t.Errorf("prune again: %v", err)
	}
}

func TestDurabilityIsSaid(t *testing.T) {
	for _, tt := range []struct {
		sync time.Duration
		want string
	}{{0, "a power loss"}, {time.Minute, "every 1m0s"}} {
		b := bridgetest.Open(t, func(o *bridge.Options) { o.Server = bridgetest.ServerIn(t, t.TempDir(), tt.sync) })
		ensure(t, b)
		if line, err := b.Durability(t.Context(), nil); err != nil || !strings.Contains(line, tt.want) {
			t.Errorf("sync %s: %q, %v", tt.sync, line, err)
		}
	}
	b := bridgetest.Open(t, func(o *bridge.Options) { o.URL = bridgetest.External(t) })
	ensure(t, b)
	if line, err := b.Durability(t.Context(), nil); err != nil || !strings.Contains(line, "external") {
		t.Errorf("external: %q, %v", line, err)
	}
}
