package main

import (
	"os"
	"runtime/debug"
)

// collectAt is the garbage collector's target of a node, as GOGC has it. Under
// full load most of what a node has is buffers that live for milliseconds beside
// 100 MiB that live on: with Go's 100 it takes 310 MiB, with 50 under 200, at a
// cost in CPU that drowns in the noise. docs/performance.md has the figures.
const collectAt = 50

// spareMemory sets the target, unless the environment says otherwise.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
