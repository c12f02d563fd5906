package plugin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		type key struct{}
		caller, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		start := time.Now()
		short := w.add(context.Background(), start.Add(time.Second))
		gone := w.add(caller, start.Add(time.Hour))
		kept := w.add(context.Background(), start.Add(time.Hour))
		child, cancelChild := context.WithCancel(short)
		defer cancelChild()
		other, cancelOther := context.WithCancel(short)
		cancelOther()
		<-other.Done()
		if gone.Value(key{}) != "value" {
			t.Error("the caller's values are lost")
		}
		if _, ok := short.Deadline(); ok {
			t.Error("a deadline is shown")
		}

		<-child.Done()
		if late := time.Since(start) - time.Second; late < 0 || late > watchTick {
			t.Errorf("ended %v after the deadline", late)
		}
		if short.Err() != context.DeadlineExceeded || child.Err() != context.DeadlineExceeded {
			t.Errorf("ended by %v, %v", short.Err(), child.Err())
		}
		late, cancelLate := context.WithCancel(short)
		defer cancelLate()
		<-late.Done()

		cancel()
		<-gone.Done()
		if gone.Err() != context.Canceled {
			t.Errorf("the caller's end: %v", gone.Err())
		}
		if kept.Err() != nil {
			t.Errorf("ended without reason: %v", kept.Err())
		}
		for _, c := range []*callContext{short, kept, gone} {
			w.remove(c)
		}
		time.Sleep(2 * watchTick)
		synctest.Wait()
		if w.running || len(w.calls) != 0 {
			t.Error("the timer runs without calls")
		}
		// And once more.
		again := w.add(context.Background(), time.Now().Add(time.Second))
		<-again.Done()
		w.remove(again)
	})
}
