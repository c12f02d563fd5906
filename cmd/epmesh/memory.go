package main

import (
	"os"
	"runtime/debug"
)

// memoryLimit is from where on a node's garbage collector works harder, as
// GOMEMLIMIT has it. It is no bound: the embedded server takes blocks of 4 to
// 8 MiB for every stretch of a stream that it touches, and lets them go only
// when garbage is collected. docs/performance.md has the figures.
const memoryLimit = 140 << 20

// spareMemory sets the limit, unless the environment says otherwise.
func spareMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
