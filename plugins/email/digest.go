package email

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

const (
	firstRest = time.Second
	maxRest   = 5 * time.Minute
)

// digests mails what waits in the spool, until ctx ends; what waits then is
// mailed after the next start. A spool of earlier settings, with a digest, is
// mailed without one too.
func (m *mailer) digests(ctx context.Context) {
	for ctx.Err() == nil {
		list, wait := m.spool.due(time.Now(), m.Digest.Every.D(), m.Digest.Max)
		if len(list) > 0 {
			m.mailAll(ctx, list)
			continue
		}
		var due <-chan time.Time
		var timer *time.Timer
		if wait > 0 {
			timer = time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-due:
		case <-m.added:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// mailAll mails messages, those with the same recipients together.
func (m *mailer) mailAll(ctx context.Context, list []*kept) {
	groups := map[string][]*kept{}
	to := map[string]recipients{}
	var order []string
	for _, k := range list {
		r := m.route(k.content())
		key := r.key()
		if _, ok := to[key]; !ok {
			to[key] = r
			order = append(order, key)
		}
		groups[key] = append(groups[key], k)
	}
	for _, key := range order {
		m.mailDigest(ctx, to[key], groups[key])
	}
}

// mailDigest mails messages together. What is refused together, too large
// perhaps, is tried in halves: so one that is to blame holds up only itself.
func (m *mailer) mailDigest(ctx context.Context, to recipients, list []*kept) {
	messages := make([]delivery.Content, len(list))
	keys := make([]delivery.Key, len(list))
	for i, k := range list {
		messages[i], keys[i] = k.content(), k.key()
	}
	a := answer{outcome: refused}
	if text, err := m.write(to, messages, keys); err == nil {
		if a, err = m.attempt(ctx, ctx, to, text); err != nil {
			return
		}
	} else {
		a.text = "write mail: " + err.Error()
	}
	switch {
	case a.outcome == sent:
		if err := m.spool.done(keys); err != nil {
			m.Logger.Warn("mailed, but that could not be written down: after a restart it may be mailed again", "messages", len(keys), "error", err)
		}
		if !m.spool.resting() {
			m.setTrouble("")
		}
	case ctx.Err() != nil:
	case a.outcome == refused && len(list) > 1:
		half := len(list) / 2
		m.mailDigest(ctx, to, list[:half])
		m.mailDigest(ctx, to, list[half:])
	default:
		m.spool.postpone(list, time.Now())
		if m.setTrouble(a.text) {
			m.Logger.Error("a digest cannot be mailed; its messages are kept and it is tried again", "messages", len(list), "error", a.text)
		}
	}
}
