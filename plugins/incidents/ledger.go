package incidents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/hashicorp/go-hclog"
)

// ledger decides what becomes of alerts. Calls for one group are gathered, so
// that a group which gets many at once is written once for all of them.
type ledger struct {
	*settings
	log   hclog.Logger
	store store
	now   func() time.Time
	away  time.Duration // the pause after an error

	ctx  context.Context // ends with the plugin, after its last call
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	desks  map[string]*desk // groups that are worked on
	groups *lru[seen[*group]]
	claims *lru[seen[claim]]
	first  *lru[bool] // alerts known to be in the state and no duplicates
	// records are those that this process has written or found.
	records *lru[bool]

	count counts
}

// seen is a value as it was read or written last. It may be old: what it says of
// alerts stays true, and what it does not say is settled by compare-and-set.
type seen[T any] struct {
	value    T
	revision uint64
}

// outcome is what became of an alert, and the incident as it was read.
type outcome struct {
	entry    entry
	incident incident
}

// takeOver is how long the first of equal alerts may be on its way into its
// group before another takes its place: that one's process ended, and nobody
// may be working on it any more.
const takeOver = time.Minute

// skew is how far the clocks of nodes may be apart. An alert that was raised
// later than that after a claim was made was not taken before the claim.
const skew = 5 * time.Minute

var errVoid = errors.New("the first of equal alerts was no first")

func newLedger(s *settings, st store, log hclog.Logger) *ledger {
	l := &ledger{
		settings: s, log: log, store: st, now: time.Now, away: waitAway, desks: map[string]*desk{},
		groups: newLRU[seen[*group]](s.Cache), claims: newLRU[seen[claim]](s.Cache), first: newLRU[bool](s.Cache), records: newLRU[bool](max(s.Cache, 4*maxBatch)),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// close ends what is under way; the calls have returned before.
func (l *ledger) close() {
	l.stop()
	l.work.Wait()
}

// take enters an alert, or finds what became of it before.
func (l *ledger) take(ctx context.Context, f *facts) (outcome, error) {
	if f.same == "" {
		return l.submit(ctx, f.group, &op{facts: f})
	}
	for again := false; ; again = true {
		c, err := l.claimOf(ctx, f.same, again)
		if err != nil {
			return outcome{}, err
		}
		switch {
		case c.revision == 0 || c.value.Alert == "":
			err := l.claim(ctx, f, c)
			if errors.Is(err, bridge.ErrConflict) {
				continue
			}
			if err != nil {
				return outcome{}, err
			}
			return l.submit(ctx, f.group, &op{facts: f})
		case c.value.Alert == f.id:
			return l.submit(ctx, f.group, &op{facts: f})
		}
		over := f.at-c.value.At >= l.DeduplicateFor.D().Milliseconds()
		goal := c.value.Group
		if over {
			goal = f.group
		}
		// It may be where a claim of its own, or an earlier one, has led it.
		if f.raised-c.value.Made <= skew.Milliseconds() {
			out, found, err := l.elsewhere(ctx, f, goal, append([]string{f.group, c.value.Group}, c.value.Before...))
			if found || err != nil {
				return out, err
			}
		}
		if !over {
			out, err := l.submit(ctx, goal, &op{facts: f, claim: &c.value})
			if !errors.Is(err, errVoid) {
				return out, err
			}
		}
		err = l.claim(ctx, f, c)
		if errors.Is(err, bridge.ErrConflict) {
			continue
		}
		if err != nil {
			return outcome{}, err
		}
		return l.submit(ctx, f.group, &op{facts: f})
	}
}

// claimOf reads who is the first of equal alerts.
func (l *ledger) claimOf(ctx context.Context, key string, fresh bool) (seen[claim], error) {
	if !fresh {
		l.mu.Lock()
		c, ok := l.claims.get(key)
		l.mu.Unlock()
		if ok {
			return c, nil
		}
	}
	e, err := l.store.Get(ctx, key)
	if err != nil {
		return seen[claim]{}, err
	}
	c := seen[claim]{revision: e.Revision}
	if e.Value == nil {
		return c, nil
	}
	if err := decode(e.Value, &c.value); err != nil {
		return c, fmt.Errorf("%s: %w", key, err)
	}
	for _, g := range append([]string{c.value.Group}, c.value.Before...) {
		if c.value.Alert != "" && !isGroupKey(g) {
			return c, fmt.Errorf("%s: %w: %q is no group", key, errUnreadable, g)
		}
	}
	l.keepClaim(key, c)
	return c, nil
}

func (l *ledger) keepClaim(key string, c seen[claim]) {
	l.mu.Lock()
	l.claims.put(key, c)
	l.mu.Unlock()
}

// claim makes the alert the first of those that equal it, in the place of what
// was read.
func (l *ledger) claim(ctx context.Context, f *facts, old seen[claim]) error {
	c := claim{Alert: f.id, Raised: f.raised, At: f.at, Group: f.group, Made: l.now().UnixMilli()}
	for _, g := range append([]string{old.value.Group}, old.value.Before...) {
		if g != "" && !slices.Contains(c.Before, g) && len(c.Before) < maxBefore {
			c.Before = append(c.Before, g)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	revision, err := l.store.Put(ctx, f.same, text, old.revision, l.keep())
	if err != nil {
		return err
	}
	l.keepClaim(f.same, seen[claim]{c, revision})
	return nil
}

// elsewhere looks for the alert in groups other than its goal, as they are now.
func (l *ledger) elsewhere(ctx context.Context, f *facts, goal string, keys []string) (outcome, bool, error) {
	done := []string{goal, ""}
	for _, key := range keys {
		if slices.Contains(done, key) {
			continue
		}
		done = append(done, key)
		g, err := l.read(ctx, key)
		if err != nil {
			return outcome{}, false, err
		}
		if e := g.value.find(f.id); e != nil {
			return g.value.outcome(*e), true, nil
		}
		if g.value.moved(f.raised) {
			out, found, err := l.recorded(ctx, f, g.value)
			if found || err != nil {
				return out, found, err
			}
		}
	}
	return outcome{}, false, nil
}

// read reads a group; one that is not there is empty.
func (l *ledger) read(ctx context.Context, key string) (seen[*group], error) {
	e, err := l.store.Get(ctx, key)
	if err != nil {
		return seen[*group]{}, err
	}
	g := seen[*group]{new(group), e.Revision}
	if e.Value != nil {
		if g.value, err = decodeGroup(e.Value); err != nil {
			return g, fmt.Errorf("%s: %w", key, err)
		}
	}
	return g, nil
}

// outcome is an entry of the group with the incident that it belongs to.
func (g *group) outcome(e entry) outcome {
	if g.Incident != nil && e.Parent == g.Incident.Parent {
		return outcome{e, *g.Incident}
	}
	return outcome{entry: e}
}
