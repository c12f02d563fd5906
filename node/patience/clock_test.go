package patience

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start()
		for _, tt := range []struct {
			passes, want time.Duration
			skip         bool
		}{
			{passes: 300 * time.Millisecond, want: 300 * time.Millisecond},
			{passes: time.Second, want: 1300 * time.Millisecond},
			{passes: time.Hour, want: 2300 * time.Millisecond}, // the process was stopped
			{passes: time.Second, want: 2300 * time.Millisecond, skip: true},
			{passes: 0, want: 2300 * time.Millisecond},
		} {
			time.Sleep(tt.passes)
			if tt.skip {
				c.Skip()
			}
			if got := c.Spent(time.Second); got != tt.want {
				t.Errorf("after %v more it is %v, want %v", tt.passes, got, tt.want)
			}
		}
	})
}
