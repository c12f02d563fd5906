package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// tracker follows marked logs. All its methods may be called by many goroutines.
type tracker struct {
	prefix string

	mu       sync.Mutex
	order    []*mark // as they were sent
	byID     map[string]*mark
	open     int       // neither event nor dead letter yet, or not acked
	due      int       // not acked
	progress time.Time // when an Ack came, or something began to wait for one
	stall    time.Duration
	change   chan struct{} // closed when nothing is open any more
}

// mark is one log.
type mark struct {
	id    string
	sent  time.Time
	acked bool
	took  time.Duration // until it was seen as an event
	seen  int           // as an event
	dead  bool
}

func newTracker(run string) *tracker {
	return &tracker{prefix: run + "-", byID: map[string]*mark{}, change: make(chan struct{}, 1)}
}

// begin gives the next log's id; its time begins.
func (t *tracker) begin() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &mark{id: fmt.Sprint(t.prefix, len(t.order)), sent: time.Now()}
	t.order = append(t.order, m)
	t.byID[m.id] = m
	t.open++
	if t.due == 0 {
		t.progress = m.sent
	}
	t.due++
	return m.id
}

// forget takes back the log that was begun last: it was not sent.
func (t *tracker) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order = t.order[:len(t.order)-1]
	delete(t.byID, id)
	t.open--
	t.due--
}

func (t *tracker) acked(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[id].acked = true
	t.due--
	t.stall = max(t.stall, time.Since(t.progress))
	t.progress = time.Now()
	t.tell()
}

// settle notes that a log is an event, or a dead letter; ids of others are let
// pass.
func (t *tracker) settle(id string, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byID[id]
	if m == nil {
		return
	}
	if m.seen == 0 && !m.dead {
		t.open--
	}
	if dead {
		m.dead = true
	} else if m.seen++; m.seen == 1 {
		m.took = time.Since(m.sent)
	}
	t.tell()
}

func (t *tracker) tell() {
	if t.open == 0 && t.due == 0 {
		select {
		case t.change <- struct{}{}:
		default:
		}
	}
}

// await waits until nothing is open, and no longer than wait.
func (t *tracker) await(wait time.Duration) {
	late := time.After(wait)
	for {
		t.mu.Lock()
		done := t.open == 0 && t.due == 0
		t.mu.Unlock()
		if done {
			return
		}
		select {
		case <-t.change:
		case <-late:
			return
		}
	}
}

// follow watches events and dead letters until ctx ends; it returns once it does.
// The channel gives what broke it, or nil.
func (t *tracker) follow(ctx context.Context, b *bridge.Bridge, events bridge.TapFilter) (<-chan error, error) {
	events.Stage = "events"
	ready, ended := make(chan struct{}, 2), make(chan error, 2)
	// The dead letters of drafts have another subject: all are looked at.
	for _, filter := range []bridge.TapFilter{events, {Stage: "dead"}} {
		go func() {
			_, err := b.Tap(ctx, filter, func() { ready <- struct{}{} }, func(x bridge.Tapped) bool {
				if x.Dead != nil {
					t.settle(deadID(*x.Dead), true)
				} else {
					t.settle(itemID(x.Item), false)
				}
				return true
			})
			ended <- err
		}()
	}
	for range 2 {
		select {
		case <-ready:
		case err := <-ended:
			return nil, err
		}
	}
	both := make(chan error, 1)
	go func() { both <- errors.Join(<-ended, <-ended) }()
	return both, nil
}

// itemID is the id of the log that an item is, or was made of.
func itemID(it bridge.Item) string {
	m, err := decode(it.Subject, it.ID, it.Body)
	if err != nil {
		return ""
	}
	switch m := m.(type) {
	case *pb.Handover:
		var l pb.Log
		if proto.Unmarshal(m.GetLog(), &l) != nil {
			return ""
		}
		return l.GetId()
	case interface{ GetId() string }:
		return m.GetId()
	}
	return ""
}

// deadID is the id of the log that a dead letter holds. Events that a later
// stage gave up were events before.
func deadID(d bridge.DeadLetter) string {
	if k := kind(d.Subject); k != "log" && k != "draft" {
		return ""
	}
	return itemID(bridge.Item{ID: d.ID, Subject: d.Subject, Body: d.Body})
}

// locate looks in the streams for what is missing: how many logs wait at each
// place.
func (t *tracker) locate(ctx context.Context, b *bridge.Bridge, filter bridge.TapFilter) (where map[string]int, err error) {
	missing := map[string]bool{}
	where = map[string]int{}
	t.mu.Lock()
	for _, m := range t.order {
		if m.seen == 0 && !m.dead {
			missing[m.id] = true
		}
	}
	t.mu.Unlock()
	for _, filter.Stage = range []string{"logs", "drafts", "events"} {
		if len(missing) == 0 {
			break
		}
		err = errors.Join(err, b.Stored(ctx, filter, func(it bridge.Item) bool {
			id := itemID(it)
			switch {
			case !missing[id]:
				return true
			case filter.Stage == "logs":
				where[atParse]++
			case filter.Stage == "drafts":
				where[atPlugin+bridge.DraftPlugin(it.Subject)]++
			default: // it passed while the connection was away
				t.settle(id, false)
			}
			delete(missing, id)
			return len(missing) > 0
		}))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range missing {
		if t.byID[id].acked {
			where[nowhere]++
		} else {
			where[atDoor]++
		}
	}
	return where, err
}

// percentile is of the times that events took, sorted.
func percentile(took []time.Duration, p int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[min(len(took)*p/100, len(took)-1)]
}

// verdict is what came of all.
func (t *tracker) verdict(where map[string]int, within time.Duration) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := verdict{Sent: len(t.order), Missing: map[string]int{}}
	for place, n := range where {
		v.Missing[strings.TrimSpace(place)] = n
	}
	var took []time.Duration
	missing := 0
	for _, m := range t.order {
		if m.acked {
			v.Acked++
		}
		switch {
		case m.seen > 0:
			v.Events++
			v.Duplicates += m.seen - 1
			took = append(took, m.took)
		case m.dead:
			v.Dead++
		default:
			missing++
		}
	}
	slices.Sort(took)
	if t.due > 0 {
		t.stall = max(t.stall, time.Since(t.progress))
	}
	v.Stall, v.P50, v.P99 = millis(t.stall), millis(percentile(took, 50)), millis(percentile(took, 99))
	if n := len(t.order); n > 0 && t.order[n-1].seen > 0 {
		v.Last = millis(t.order[n-1].took)
		v.OK = missing == 0 && v.Acked == v.Sent && t.order[n-1].took <= within
	}
	return v
}
