// Package node is one node agent: it puts together the bridge, the engine
// socket, the plugins and the stages, starts them in order, swaps the
// configuration while they run, and stops them in reverse order.
package node
