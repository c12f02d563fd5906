// Package plugin is the node's side of its local plugins.
//
// A Registry watches the folder of sockets and connects to whatever plugin
// appears there, whoever started it: a plugin comes and goes at any time, and
// its Client stays the same handle. Calls carry stored bytes as they are.
//
// Processes starts the plugins that belong to this node, captures their output,
// starts them again when they end, and sees to it that none outlives the node.
//
// The two halves meet only in the folder of sockets: a process that does not
// serve (an input) and a socket without a process of ours (a container's) are
// both ordinary.
package plugin
