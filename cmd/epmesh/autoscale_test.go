package main

import (
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
	"github.com/google/go-cmp/cmp"
)

// stageOf is a node that serves analysis-x: so many items done, seconds of work
// on them, items that wait.
func stageOf(name string, limit int, done int64, busy, waiting float64) node.Status {
	return node.Status{Node: name, Stages: []node.StageStatus{{
		Stage: "analysis", Plugin: "x", Consumer: "analysis-x", Serving: true, Limit: limit, Busy: busy, LagItems: waiting,
		Counts: bridge.Counts{Out: done - 1, Dead: 1},
	}}}
}

func TestAdvice(t *testing.T) {
	const span, drain = 10 * time.Second, 100 * time.Second
	for _, tt := range []struct {
		name          string
		before, after []node.Status
		want          advice
	}{
		{
			// 5 ms an item and 10 at once are 2000 a second; 1000 come.
			"half busy",
			[]node.Status{stageOf("a", 10, 1, 0, 0)},
			[]node.Status{stageOf("a", 10, 10001, 50, 0)},
			advice{Instances: 1, Needed: 1, Arrival: 1000, Done: 1000, Latency: 0.005, Busy: 0.5, Capacity: 2000},
		},
		{
			// Two of them are at their limit, 4000 a second, while 6000 come:
			// 6000 * 1.5 and 20000 / 100 s, by 2000.
			"behind",
			[]node.Status{stageOf("a", 10, 1, 0, 0), stageOf("b", 10, 1, 0, 0)},
			[]node.Status{stageOf("a", 10, 20001, 100, 20000), stageOf("b", 10, 20001, 100, 20000)},
			advice{Instances: 2, Needed: 5, Arrival: 6000, Done: 4000, Latency: 0.005, Busy: 1, Capacity: 2000, Saturated: true, Waiting: 20000, DrainSeconds: -1},
		},
		{
			"catching up",
			[]node.Status{stageOf("a", 10, 1, 0, 11000)},
			[]node.Status{stageOf("a", 10, 10001, 50, 1000)},
			advice{Instances: 1, Needed: 1, Arrival: 0, Done: 1000, Latency: 0.005, Busy: 0.5, Capacity: 2000, Waiting: 1000, DrainSeconds: 1},
		},
		{
			"too few",
			[]node.Status{stageOf("a", 10, 1, 0, 0)},
			[]node.Status{stageOf("a", 10, 6, 1, 0)},
			advice{Instances: 1, Arrival: 0.5, Done: 0.5, Why: "too few items to measure by"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Stage, tt.want.Plugin = "analysis", "x"
			got := advise(tt.before, tt.after, span, 0.5, drain)
			if diff := cmp.Diff([]advice{tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	restarted := stageOf("a", 10, 5, 1, 0)
	restarted.Since = time.Unix(9, 0)
	if got := advise([]node.Status{stageOf("a", 10, 10001, 50, 0)}, []node.Status{restarted}, span, 0.5, drain); got[0].Done != 0 || got[0].Needed != 0 {
		t.Errorf("a node that began anew is compared with the one before: %+v", got[0])
	}
	nobody := stageOf("a", 10, 1, 0, 5)
	nobody.Stages[0].Serving = false
	if got := advise([]node.Status{nobody}, []node.Status{nobody}, span, 0.5, drain); got[0].Needed != 1 || got[0].Why != "nobody serves it" {
		t.Errorf("work without a plugin: %+v", got[0])
	}
}
