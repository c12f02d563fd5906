package incidents

import (
	"context"
	"fmt"
)

// record is an alert that its group does not remember any more.
type record struct {
	Entry entry `json:"entry"`
	// Group is not always the alert's own: a duplicate is in that of its first.
	Group string `json:"group,omitempty"`
}

// recordOf reads an alert's own record.
func (l *ledger) recordOf(ctx context.Context, key string) (record, bool, error) {
	e, err := l.store.Get(ctx, key)
	if err != nil || e.Value == nil {
		return record{}, false, err
	}
	var r record
	if err := decode(e.Value, &r); err != nil {
		return record{}, false, fmt.Errorf("%s: %w", key, err)
	}
	if r.Group != "" && !isGroupKey(r.Group) {
		return record{}, false, fmt.Errorf("%s: %w: %q is no group", key, errUnreadable, r.Group)
	}
	return r, true, nil
}

// recorded is what became of an alert that has a record of its own, if it has.
func (l *ledger) recorded(ctx context.Context, f *facts, g *group) (outcome, bool, error) {
	r, found, err := l.recordOf(ctx, f.record)
	if !found || err != nil {
		return outcome{}, false, err
	}
	i, err := l.incidentOf(ctx, f.alert.TenantId, r, g)
	return outcome{r.Entry, i}, err == nil, err
}

// incidentOf is the incident that a record speaks of. The group at hand may be
// another, or have been read before the alert was in it. Its own, read after the
// record, has the incident, unless another follows that: then it has a key.
func (l *ledger) incidentOf(ctx context.Context, tenant string, r record, g *group) (incident, error) {
	if r.Entry.Parent == "" {
		return incident{}, nil
	}
	if g.Incident.includes(r.Entry) {
		return *g.Incident, nil
	}
	if r.Group != "" {
		now, err := l.read(ctx, r.Group)
		if err != nil {
			return incident{}, err
		}
		if i := now.value.Incident; i.includes(r.Entry) {
			return *i, nil
		}
	}
	var i incident
	key := incidentKey(tenant, r.Entry.Parent)
	v, err := l.store.Get(ctx, key)
	if err != nil || v.Value == nil {
		return i, err
	}
	if err := decode(v.Value, &i); err != nil {
		return i, fmt.Errorf("%s: %w", key, err)
	}
	return i, nil
}
