//go:build !race

package integration

import "testing"

// raced tells that these tests and what they start run under the race detector.
const raced = false

func watchRaces(*testing.T) string { return "" }
