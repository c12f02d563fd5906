package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A part of the answer is asked for again while a cluster chooses its leaders, and
// is said to be missing where it does not come.
func TestPartOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meshJSON
		asked := 0
		m.part(t.Context(), "streams", func(context.Context) error {
			if asked++; asked < 3 {
				return context.DeadlineExceeded
			}
			return nil
		})
		if asked != 3 || m.partial() != nil {
			t.Errorf("asked %d times: %v", asked, m.partial())
		}
		m.part(t.Context(), "streams", func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("no leader")
		})
		if err := m.partial(); err == nil || !strings.Contains(err.Error(), "streams: no leader") || !strings.Contains(notesText(m, time.Now()), "could not be asked: streams: no leader") {
			t.Errorf("it says %v", err)
		}
	})
}
