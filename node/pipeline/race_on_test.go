//go:build race

package pipeline

// raceDetector tells that the race detector watches. It makes sync.Pool forget
// things at random, so that what regexp keeps for its next match is allocated
// anew and the sum of allocations says nothing.
const raceDetector = true
