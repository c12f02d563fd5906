package bridge

import (
	"context"
	"fmt"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Tapped is one item that passed a tap: Body is a plugins.Log, Event, Alert or
// Message, an epmesh Tally on an engine subject, or nil for a dead letter.
type Tapped struct {
	Item Item
	Dead *DeadLetter
}

// TapFilter chooses what passes. Empty fields choose all.
type TapFilter struct {
	// Stage is logs, drafts, events, alerts, messages or dead.
	Stage            string
	Tenant, DataType string
}

// TapStages are the stages that can be tapped, as a person names them.
var TapStages = []string{"logs", "drafts", "events", "alerts", "messages", "dead"}

// Tap calls f, from one goroutine, with what is stored from now on, until f
// returns false or ctx ends. It takes nothing away and slows nothing down: a
// tap that is too slow misses items, and missed says how many messages. ready
// is called once the tap is in place; nil for none.
func (b *Bridge) Tap(ctx context.Context, filter TapFilter, ready func(), f func(Tapped) bool) (missed int, err error) {
	subjects, err := filter.subjects()
	if err != nil {
		return 0, err
	}
	msgs := make(chan *nats.Msg, 1024)
	var subs []*nats.Subscription
	defer func() {
		for _, s := range subs {
			if n, err := s.Dropped(); err == nil {
				missed += n
			}
			_ = s.Unsubscribe()
		}
	}()
	for _, subject := range subjects {
		sub, err := b.nc.ChanSubscribe(subject, msgs)
		if err != nil {
			return 0, fmt.Errorf("tap %s: %w", filter.Stage, err)
		}
		subs = append(subs, sub)
	}
	if err := b.nc.FlushTimeout(storeTimeout); err != nil {
		return 0, fmt.Errorf("tap %s: %w", filter.Stage, err)
	}
	if ready != nil {
		ready()
	}
	for {
		select {
		case <-ctx.Done():
			return missed, nil
		case m := <-msgs:
			more, err := tapped(m, f)
			if err != nil || !more {
				return missed, err
			}
		}
	}
}

func tapped(m *nats.Msg, f func(Tapped) bool) (more bool, err error) {
	if strings.HasPrefix(m.Subject, subjectDead) {
		var p pb.DeadLetter
		if err := proto.Unmarshal(m.Data, &p); err != nil {
			return false, fmt.Errorf("tap dead: %w", err)
		}
		if p.GetPart() > 0 {
			return true, nil
		}
		d := fromProto(&p)
		d.Body = p.GetBody()
		return f(Tapped{Dead: &d}), nil
	}
	items, err := decodeBatch(m.Data, m.Subject)
	if err != nil {
		return false, fmt.Errorf("tap %s: %w", m.Subject, err)
	}
	for _, it := range items {
		if !f(Tapped{Item: it}) {
			return false, nil
		}
	}
	return true, nil
}

func (t TapFilter) subjects() ([]string, error) {
	rest := "*.*"
	if t.Tenant != "" {
		rest = Token(t.Tenant) + ".*"
	}
	if t.DataType != "" {
		rest = strings.TrimSuffix(rest, "*") + Token(t.DataType)
	}
	switch t.Stage {
	case "logs":
		return []string{subjectLog + rest}, nil
	case "drafts":
		return []string{subjectDraft + "*." + rest}, nil
	case "events":
		return []string{subjectEvent + rest}, nil
	case "alerts":
		return []string{subjectAlert + rest}, nil
	case "messages":
		if t.Tenant != "" || t.DataType != "" {
			return nil, fmt.Errorf("tap messages: messages have no tenant or data type to choose by")
		}
		return []string{subjectMsg + ">", subjectEngine + ">"}, nil
	case "dead":
		if rest == "*.*" {
			return []string{subjectDead + ">"}, nil
		}
		return []string{subjectDead + "*.*." + rest}, nil
	}
	return nil, fmt.Errorf("tap %q: no such stage; there are %s", t.Stage, strings.Join(TapStages, ", "))
}
