// Package telemetry is what a node says about itself: its own log, and its
// metrics in the form Prometheus reads. It knows the parts of a node only
// through the small sources it reads numbers from when it is asked.
package telemetry
