package conform

import "time"

// Hasten makes the pauses of the checks short enough for tests.
func Hasten() {
	quiet, stallFor, regain = 400*time.Millisecond, 3*time.Second, 4*time.Second
}
