package incidents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/epmesh/epmesh/bridge"
	"golang.org/x/sync/errgroup"
)

// makeRoom gives records of their own to alerts that the group remembers in the
// state and is not to any more: the oldest where there are more than maxRecent, or
// where an incident was closed all of it. The records come first: an alert is in
// one of the two at any time.
func (l *ledger) makeRoom(ctx context.Context, groupKey string, was, next *group, old, closed int, tenant string) error {
	n := 0
	// All who write to a group at once come to this; one of them will do.
	if len(next.Recent) > mustForget || len(next.Recent) > maxRecent && rand.N(4) == 0 {
		n = min(old, len(next.Recent)-keepRecent)
	}
	if closed >= 0 {
		n = closed
		if err := l.keepIncident(ctx, incidentKey(tenant, was.Incident.Parent), was.Incident); err != nil {
			return err
		}
	}
	var writes errgroup.Group
	writes.SetLimit(recordsAtOnce)
	for _, e := range next.Recent[:n] {
		key := recordKey(tenant, e.ID)
		l.mu.Lock()
		_, there := l.records.get(key)
		l.mu.Unlock()
		if there {
			continue // from a turn that failed after it
		}
		writes.Go(func() error {
			text, err := json.Marshal(record{e, groupKey})
			if err != nil {
				return fmt.Errorf("encode state: %w", err)
			}
			l.count.records.Add(1)
			_, err = l.store.Put(ctx, key, text, 0, l.keep()+keepLonger)
			if err != nil && !errors.Is(err, bridge.ErrConflict) {
				return err
			}
			// Where another has done it, it has written the same.
			l.mu.Lock()
			l.records.put(key, true)
			l.mu.Unlock()
			return nil
		})
	}
	if err := writes.Wait(); err != nil {
		return err
	}
	next.forget(n)
	return nil
}

// keepIncident writes what is known of an incident that another follows. Who
// knows more of it is not written over: this may be a late reader, whose write of
// the group will fail.
func (l *ledger) keepIncident(ctx context.Context, key string, i *incident) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	old, err := l.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if old.Value != nil {
		var before incident
		if err := decode(old.Value, &before); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if before.Alerts >= i.Alerts {
			return nil
		}
	}
	_, err = l.store.Put(ctx, key, text, old.Revision, l.keep()+keepLonger)
	return err
}
