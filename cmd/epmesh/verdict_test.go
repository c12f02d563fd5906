package main

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	const within = 10 * time.Second
	for name, test := range map[string]struct {
		events, dead, acks []int
		where              map[string]int
		ok                 bool
		want, reason       string
	}{
		"all well": {
			events: []int{0, 1, 2}, acks: []int{0, 1, 2}, ok: true,
			want: "sent 3, acked 3, events 3, dead 0, missing 0, duplicates 0,",
		},
		"repeated": {
			events: []int{0, 1, 2, 1}, acks: []int{0, 1, 2}, ok: true,
			want: "sent 3, acked 3, events 3, dead 0, missing 0, duplicates 1,",
		},
		"one is a dead letter": {
			events: []int{1, 2}, dead: []int{0}, acks: []int{0, 1, 2}, ok: true,
			want: "sent 3, acked 3, events 2, dead 1, missing 0,",
		},
		"the last is a dead letter": {
			events: []int{0, 1}, dead: []int{2}, acks: []int{0, 1, 2},
			want: "events 2, dead 1,", reason: "the last log is a dead letter",
		},
		"one waits": {
			events: []int{0, 2}, acks: []int{0, 1, 2}, where: map[string]int{atParse: 1},
			want: "events 2, dead 0, missing 1,", reason: "1 log: in the stream of logs",
		},
		"not acked": {
			events: []int{0, 1}, acks: []int{0, 1}, where: map[string]int{atDoor: 1},
			want: "acked 2, events 2, dead 0, missing 1,", reason: "1 log: not acked",
		},
		"lost": {
			events: []int{2}, acks: []int{0, 1, 2}, where: map[string]int{nowhere: 2},
			want: "missing 2,", reason: "2 logs: acked, and neither in a stream nor seen",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTracker("run")
			for range 3 {
				tr.begin()
			}
			for _, i := range test.acks {
				tr.acked(tr.order[i].id)
			}
			for _, i := range test.events {
				tr.settle(tr.order[i].id, false)
			}
			for _, i := range test.dead {
				tr.settle(tr.order[i].id, true)
			}
			tr.settle("another run's", false)
			v := tr.verdict(test.where, within)
			if v.OK != test.ok || !strings.Contains(v.String(), test.want) {
				t.Errorf("ok %t, %q; want %t, %q", v.OK, v, test.ok, test.want)
			}
			got := strings.Join(v.reasons(within), "\n")
			if !strings.Contains(got, test.reason) || test.reason == "" && got != "" {
				t.Errorf("reasons %q, want %q", got, test.reason)
			}
		})
	}
}
