package plugin

// Monotonic is the clock that the guard goes by.
var Monotonic = monotonic
