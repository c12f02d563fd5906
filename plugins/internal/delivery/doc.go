// Package delivery is what the plugins share that hand messages to the outside:
// the view of a message that templates get, what was delivered before, patience
// with a target that is away, and secrets from files.
package delivery
