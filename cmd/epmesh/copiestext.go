package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/bridge"
)

// replicasText is how many copies a stream has, and how many of them are whole
// where some are not.
func replicasText(s bridge.StreamState) string {
	if n := len(s.Stale) + s.Missing; n > 0 {
		return fmt.Sprintf("%d of %d", max(s.Replicas-n, 0), s.Replicas)
	}
	return fmt.Sprint(s.Replicas)
}

// copiesText says which servers lack copies, a line for each server.
func copiesText(streams []bridge.StreamState) (lines []string) {
	away, behind := map[string]int{}, map[string][]string{}
	for _, s := range streams {
		for _, c := range s.Stale {
			switch {
			case c.Away:
				away[c.Server]++
			case c.Behind > 0:
				behind[c.Server] = append(behind[c.Server], fmt.Sprintf("%s (%d behind)", s.Name, c.Behind))
			default:
				behind[c.Server] = append(behind[c.Server], s.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(away)) {
		lines = append(lines, fmt.Sprintf("the server %s is away, and %s without its copies: the loss of a further server may stop them", name, goesOn(away[name])))
	}
	for _, name := range slices.Sorted(maps.Keys(behind)) {
		lines = append(lines, fmt.Sprintf("the server %s catches up with %s; wait for it before another is stopped", name, strings.Join(behind[name], ", ")))
	}
	missing := 0
	for _, s := range streams {
		missing = max(missing, s.Missing)
	}
	if missing > 0 {
		lines = append(lines, fmt.Sprintf("streams have fewer copies than they should, and no server for them: start %s", count(missing, "further server")))
	}
	return lines
}

func goesOn(streams int) string {
	if streams == 1 {
		return "1 stream goes on"
	}
	return fmt.Sprintf("%d streams go on", streams)
}
