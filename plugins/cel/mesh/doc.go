// Package mesh makes one history of those that the instances of the cel plugin
// keep on many nodes: a search asks the others and adds up.
//
// Events have an order over all nodes, of stamps: each event gets one when its
// instance has kept it, a question carries that of the event that it is asked for,
// and finds what is before it. Clocks are set by questions and answers as Lamport's
// are. So of two events that both ask, exactly one finds the other, however close
// they come; and an event that comes again to its instance finds what it found.
package mesh
