// Package conform finds out whether a plugin keeps the contract, without a
// mesh: it starts the plugin as a node would, in a work dir of its own with an
// engine socket of its own, calls it, kills it and starts it again, and says what
// it saw. A plugin that runs already is only called.
//
// Nothing is taken from the plugin's word: what it serves is known by its
// sockets, what it sends by what arrives, that it has ended by its process.
package conform
