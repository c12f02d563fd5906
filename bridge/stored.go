package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Stored calls f, from one goroutine, with each item that the stage's stream
// holds now and the filter chooses, oldest first, until f returns false. What is
// done with is not held: see Tap for what passes. Of drafts the subject names the
// plugin that they wait for (DraftPlugin). The stages are logs, drafts and
// events.
func (b *Bridge) Stored(ctx context.Context, filter TapFilter, f func(Item) bool) error {
	names := map[string]string{"logs": StreamLog, "drafts": StreamDraft, "events": StreamEvent}
	name, ok := names[filter.Stage]
	if !ok {
		return fmt.Errorf("stored %q: no such stage; there are logs, drafts and events", filter.Stage)
	}
	subjects, err := filter.subjects()
	if err != nil {
		return err
	}
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	for _, subject := range subjects {
		for seq := uint64(1); ; {
			raw, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return fmt.Errorf("stream %s: %w", name, err)
			}
			items, err := decodeBatch(raw.Data, raw.Subject)
			if err != nil {
				return fmt.Errorf("stream %s, message %d: %w", name, raw.Sequence, err)
			}
			for _, it := range items {
				if !f(it) {
					return nil
				}
			}
			seq = raw.Sequence + 1
		}
	}
	return nil
}

// DraftPlugin is the plugin that a stored draft waits for, by its subject.
func DraftPlugin(subject string) string {
	rest, ok := strings.CutPrefix(subject, subjectDraft)
	if !ok {
		return ""
	}
	token, _, _ := strings.Cut(rest, ".")
	if name, ok := Untoken(token); ok {
		return name
	}
	return token
}
