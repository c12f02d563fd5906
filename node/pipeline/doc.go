// Package pipeline turns logs into events: it runs the configured steps over a
// draft, which is a tree in memory, and writes what comes out as an Event in
// wire form. The draft's JSON text exists only where a dynamic step hands it to
// a plugin; calling the plugin is a function handed in.
//
// Everything is compiled once, in Compile. A mistake in one step never keeps
// the rest from running: it is reported by Compile with its position, and on
// every event that meets the step.
package pipeline
