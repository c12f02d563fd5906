package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/epmesh/epmesh/node"
)

type autoscaleCmd struct {
	For      time.Duration `name:"for" default:"10s" placeholder:"TIME" help:"How long to measure (${default})."`
	Headroom float64       `name:"headroom" default:"0.3" placeholder:"SHARE" help:"What is to be left free at the measured rate: 0.3 asks for 1.3 times what it takes (${default})."`
	Drain    time.Duration `name:"drain" default:"10m" placeholder:"TIME" help:"Within which time what waits now is to be worked off (${default})."`
	JSON     bool          `name:"json" help:"Print one line of JSON."`
	reachFlags
}

func (autoscaleCmd) Help() string {
	return `Measures for a while, and says how many instances of each plugin the present rate needs. It
changes nothing. docs/scaling.md says how it is computed, and when it misleads.

Examples:
  epmesh autoscale
  epmesh autoscale --for 1m --json | jq '.plugins[] | {plugin, instances, needed}'`
}

func (c *autoscaleCmd) Run(a *app) error {
	switch {
	case c.For < time.Second:
		return usagef("--for %s: want 1s or more", c.For)
	case c.Headroom < 0 || c.Headroom > 10:
		return usagef("--headroom %g: want 0 to 10", c.Headroom)
	case c.Drain < time.Second:
		return usagef("--drain %s: want 1s or more", c.Drain)
	}
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, stop := whileConnected(a.ctx, b, where)
	defer stop()
	before, err := askNodes(ctx, b)
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-time.After(c.For):
	case <-ctx.Done():
		return lost(ctx)
	}
	after, err := askNodes(ctx, b)
	if err != nil {
		return err
	}
	if len(after) == 0 {
		return noAnswer(where)
	}
	list := advise(before, after, time.Since(began), c.Headroom, c.Drain)
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"seconds": c.For.Seconds(), "headroom": c.Headroom, "plugins": list})
	}
	_, err = fmt.Fprint(a.stdout, adviceText(list, width(a.stdout)))
	return err
}

// advice is how many instances a consumer's plugin needs.
type advice struct {
	Stage     string `json:"stage"`
	Plugin    string `json:"plugin,omitempty"` // empty: the nodes themselves
	Instances int    `json:"instances"`        // that serve it now
	// Needed is 0 where it cannot be told; Why says so.
	Needed int    `json:"needed"`
	Why    string `json:"why,omitempty"`

	Arrival  float64 `json:"arrival"`  // items that came in a second
	Done     float64 `json:"done"`     // items done a second
	Latency  float64 `json:"latency"`  // seconds an item, as the node sees it
	Busy     float64 `json:"busy"`     // share of the limit that was in use, 0 to 1
	Capacity float64 `json:"capacity"` // items a second that one instance can do
	// Saturated: instances were at their limit, and the capacity is what they did.
	Saturated bool    `json:"saturated"`
	Waiting   float64 `json:"waiting"`     // items not done
	Lag       float64 `json:"lag_seconds"` // age of the oldest of them
	// DrainSeconds is how long they take at the present rates; -1: they grow, or
	// nothing is done.
	DrainSeconds float64 `json:"drain_seconds"`
}

const (
	// From this share of the limit on, an instance counts as saturated.
	saturated = 0.8
	// Below this many items the latency is not known well enough.
	fewItems = 20
)

// stageSample is one node's stage before and after.
type stageSample struct{ before, after node.StageStatus }

// advise compares what nodes said at two times. Nodes that began between, or
// began anew, have nothing to compare with.
func advise(before, after []node.Status, span time.Duration, headroom float64, drain time.Duration) []advice {
	stages := map[string][]stageSample{}
	var names []string
	for _, n := range after {
		i := slices.IndexFunc(before, func(o node.Status) bool { return o.Node == n.Node && o.Since.Equal(n.Since) })
		for _, s := range n.Stages {
			sample := stageSample{node.StageStatus{}, s}
			j := -1
			if i >= 0 {
				j = slices.IndexFunc(before[i].Stages, func(o node.StageStatus) bool { return o.Consumer == s.Consumer })
			}
			if sample.before = s; j >= 0 {
				sample.before = before[i].Stages[j]
			}
			if stages[s.Consumer] == nil {
				names = append(names, s.Consumer)
			}
			stages[s.Consumer] = append(stages[s.Consumer], sample)
		}
	}
	list := []advice{}
	for _, name := range names {
		list = append(list, adviseOne(stages[name], span.Seconds(), headroom, drain.Seconds()))
	}
	slices.SortStableFunc(list, func(a, b advice) int { return cmp.Compare(rank(a.Stage), rank(b.Stage)) })
	return list
}

func adviseOne(samples []stageSample, seconds, headroom, drain float64) advice {
	first := samples[0].after
	a := advice{Stage: first.Stage, Plugin: first.Plugin, DrainSeconds: -1}
	var done, busy, limit, waitedBefore float64
	for _, s := range samples {
		d := doneOf(s.after.Counts.Out, s.after.Dropped, s.after.Dead) - doneOf(s.before.Counts.Out, s.before.Dropped, s.before.Dead)
		done += d
		busy += s.after.Busy - s.before.Busy
		if s.after.Serving {
			a.Instances++
			limit += float64(s.after.Limit)
		}
		// All nodes tell of the same stream, at slightly different times.
		a.Waiting, a.Lag = max(a.Waiting, s.after.LagItems), max(a.Lag, s.after.LagSeconds)
		waitedBefore = max(waitedBefore, s.before.LagItems)
	}
	a.Done = done / seconds
	a.Arrival = max(a.Done+(a.Waiting-waitedBefore)/seconds, 0)
	switch falls := a.Done - a.Arrival; {
	case a.Waiting == 0:
		a.DrainSeconds = 0
	case falls > 0:
		a.DrainSeconds = a.Waiting / falls
	}
	switch {
	case a.Instances == 0 && a.Waiting > 0:
		a.Needed, a.Why = 1, "nobody serves it"
		return a
	case a.Instances == 0:
		a.Why = "nobody serves it, and nothing waits"
		return a
	case done < fewItems:
		a.Why = "too few items to measure by"
		return a
	}
	a.Latency = busy / done
	if limit > 0 {
		a.Busy = min(busy/seconds/limit, 1)
	}
	if a.Busy >= saturated {
		a.Saturated, a.Capacity = true, a.Done/float64(a.Instances)
	} else if a.Latency > 0 {
		a.Capacity = limit / float64(a.Instances) / a.Latency
	}
	if a.Capacity <= 0 {
		a.Why = "its work takes no time that can be measured"
		return a
	}
	a.Needed = max(int(math.Ceil((a.Arrival*(1+headroom)+a.Waiting/drain)/a.Capacity)), 1)
	return a
}

func doneOf(out, dropped, dead int64) float64 { return float64(out + dropped + dead) }

func adviceText(list []advice, width int) string {
	rows := [][]string{{"STAGE", "PLUGIN", "HAS", "NEEDS", "IN/S", "DONE/S", "EACH", "CAN/S", "BUSY", "WAITING", "LAG", "NOTE"}}
	for _, a := range list {
		needs, note := fmt.Sprint(a.Needed), a.Why
		if a.Needed == 0 {
			needs = "?"
		}
		if a.Saturated {
			note = "at its limit: what one can do may be less than measured with more of them"
		}
		rows = append(rows, []string{
			a.Stage, a.Plugin, fmt.Sprint(a.Instances), needs, rateText(a.Arrival), rateText(a.Done),
			time.Duration(a.Latency * float64(time.Second)).Round(10 * time.Microsecond).String(), rateText(a.Capacity),
			fmt.Sprintf("%.0f%%", 100*a.Busy), fmt.Sprintf("%.0f", a.Waiting), age(time.Duration(a.Lag * float64(time.Second))), note,
		})
	}
	return table(width, rows)
}
