// Package replay puts a stream of events, a line of protobuf-JSON each, through
// rules: lines are decoded side by side, and held against the rules in their
// order, so that each event sees those before it as its history.
package replay
