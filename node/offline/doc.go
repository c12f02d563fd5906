// Package offline does with logs what a node does with them, without streams:
// it loads and compiles the pipeline files of a work dir, calls the parsing
// plugins of that work dir, and gives the events that a node would store.
//
// A Runner takes one log at a time, from any number of goroutines; a Stream puts
// the logs of an input through it, side by side and in order.
package offline
