package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Places where a log may be that is missing.
const (
	atDoor   = "not acked"
	atParse  = "log stream"
	atPlugin = "draft for "
	nowhere  = "nowhere"
)

// verdict is what verify found.
type verdict struct {
	OK         bool `json:"ok"`
	Sent       int  `json:"sent"`
	Acked      int  `json:"acked"`
	Events     int  `json:"events"`
	Dead       int  `json:"dead"`
	Duplicates int  `json:"duplicates"`
	// Missing is how many are neither events nor dead letters, by where they are.
	Missing map[string]int `json:"missing"`
	// Times are in milliseconds.
	Stall float64 `json:"longest_stall_ms"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Last  float64 `json:"last_ms"` // 0: the last log is no event
}

func millis(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

func (v verdict) missing() (n int) {
	for _, m := range v.Missing {
		n += m
	}
	return n
}

func (v verdict) String() string {
	return fmt.Sprintf("sent %d, acked %d, events %d, dead %d, missing %d, duplicates %d, longest stall %.4gms\nfrom sending to the event: p50 %.4gms, p99 %.4gms, the last %.4gms",
		v.Sent, v.Acked, v.Events, v.Dead, v.missing(), v.Duplicates, v.Stall, v.P50, v.P99, v.Last)
}

// reasons say what is wrong, and what to do about it.
func (v verdict) reasons(within time.Duration) (list []string) {
	for _, place := range slices.Sorted(maps.Keys(v.Missing)) {
		logs := count(v.Missing[place], "log")
		switch plugin, draft := strings.CutPrefix(place, atPlugin); {
		case draft:
			list = append(list, fmt.Sprintf("%s: waiting as drafts for the parsing plugin %s: see in epmesh status whether a node serves it", logs, plugin))
		case place == atParse:
			list = append(list, logs+": in the stream of logs, not parsed yet: see in epmesh status whether a node parses, and how much is before them")
		case place == atDoor:
			list = append(list, logs+": not acked, and so not promised to be kept: see in epmesh status whether the streams are full or without a leader")
		default:
			list = append(list, logs+": acked, and neither in a stream nor seen to become an event: it passed while this command's own connection was away, was dropped by a pipeline, or is lost; run it again without faults to tell")
		}
	}
	switch {
	case v.OK || v.missing() > 0:
	case v.Last == 0:
		list = append(list, "the last log is a dead letter: see epmesh dead list")
	case v.Last > millis(within):
		list = append(list, fmt.Sprintf("the last log took longer than %s", within))
	}
	return list
}
